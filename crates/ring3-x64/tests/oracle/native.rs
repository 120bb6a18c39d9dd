//! Runs cases on the processor of the host (x86-64 Linux).
//!
//! One page at a fixed address holds a stub that loads the registers, the instruction, and landing places that store the registers.
//! Exceptions arrive as signals; the handler sends the thread to a landing place of its own.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use iced_x86::code_asm::{AsmRegister64, AsmRegisterXmm, registers};
use iced_x86::code_asm::{
    CodeAssembler, byte_ptr, dword_ptr, qword_ptr, rax, rbp, rbx, rcx, rdi, rsp, xmmword_ptr,
};

use super::case::{
    CASE, CODE_PAGE, Case, Executor, GS_BASE, Outcome, SCRATCH, SCRATCH_SIZE, State, TAKEN,
};

const FALL_THROUGH: u64 = CODE_PAGE + 0x8c0;
const FAULT: u64 = CODE_PAGE + 0x8e0;
const STORE: u64 = CODE_PAGE + 0x900;
/// Data of the stub.
const SAVED_RSP: u64 = CODE_PAGE + 0xe00;
const STATE: u64 = CODE_PAGE + 0xe08;
const SAVED_RAX: u64 = CODE_PAGE + 0xe10;
const PLACE: u64 = CODE_PAGE + 0xe18;
const VECTOR: u64 = CODE_PAGE + 0xe20;
const DEFAULT_MXCSR: u64 = CODE_PAGE + 0xe28;
const FAULT_RIP: u64 = CODE_PAGE + 0xe30;

/// The host's processor.
pub struct Native {
    /// There is one stub and one pair of data pages in the process.
    _only: MutexGuard<'static, ()>,
}

impl Native {
    /// Maps the pages and installs the handlers; waits while another one is alive.
    pub fn new() -> Self {
        static SETUP: Once = Once::new();
        static ONLY: Mutex<()> = Mutex::new(());
        let only = ONLY.lock().unwrap_or_else(PoisonError::into_inner);
        SETUP.call_once(|| {
            map(
                CODE_PAGE,
                0x1000,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            );
            map(SCRATCH, SCRATCH_SIZE, libc::PROT_READ | libc::PROT_WRITE);
            write_stub();
            for signal in [libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS] {
                install(signal);
            }
        });
        per_thread();
        Self { _only: only }
    }
}

/// The handler's own stack and the base of GS, which belong to the thread.
fn per_thread() {
    let size = 0x1_0000;
    let stack = libc::stack_t {
        ss_sp: Box::leak(vec![0u8; size].into_boxed_slice())
            .as_mut_ptr()
            .cast(),
        ss_flags: 0,
        ss_size: size,
    };
    // SAFETY: the stack is leaked, so it outlives the thread.
    let result = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    assert_eq!(result, 0, "sigaltstack failed");
    const ARCH_SET_GS: i32 = 0x1001;
    // SAFETY: no code of a Linux process uses GS.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE) };
    assert_eq!(result, 0, "arch_prctl failed");
}

fn map(address: u64, size: usize, protection: i32) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces an existing mapping.
    let result =
        unsafe { libc::mmap(address as *mut libc::c_void, size, protection, flags, -1, 0) };
    assert_eq!(result as u64, address, "cannot map {address:#x}");
}

fn install(signal: i32) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the handler only touches its context and the stub's page.
    let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "sigaction failed");
}

extern "C" fn handler(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the thread's context.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = registers[libc::REG_RIP as usize] as u64;
    if (CASE..TAKEN).contains(&rip) {
        write_u64(FAULT_RIP, rip);
        write_u64(VECTOR, registers[libc::REG_TRAPNO as usize] as u64);
        registers[libc::REG_RIP as usize] = FAULT as i64;
    } else {
        // Not ours: let it happen again with the default action.
        // SAFETY: resets the handler of this signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn write_u64(address: u64, value: u64) {
    // SAFETY: only called with addresses of the stub's page, which is mapped for good.
    unsafe { (address as *mut u64).write_volatile(value) }
}

fn read_u64(address: u64) -> u64 {
    // SAFETY: only called with addresses of the stub's page.
    unsafe { (address as *const u64).read_volatile() }
}

fn write_code(address: u64, code: &[u8]) {
    // SAFETY: callers keep inside the stub's page.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), address as *mut u8, code.len()) }
}

const GPR: [AsmRegister64; 16] = [
    registers::rax,
    registers::rcx,
    registers::rdx,
    registers::rbx,
    registers::rsp,
    registers::rbp,
    registers::rsi,
    registers::rdi,
    registers::r8,
    registers::r9,
    registers::r10,
    registers::r11,
    registers::r12,
    registers::r13,
    registers::r14,
    registers::r15,
];

const XMM: [AsmRegisterXmm; 16] = [
    registers::xmm0,
    registers::xmm1,
    registers::xmm2,
    registers::xmm3,
    registers::xmm4,
    registers::xmm5,
    registers::xmm6,
    registers::xmm7,
    registers::xmm8,
    registers::xmm9,
    registers::xmm10,
    registers::xmm11,
    registers::xmm12,
    registers::xmm13,
    registers::xmm14,
    registers::xmm15,
];

const KEPT: [AsmRegister64; 6] = [
    rbx,
    rbp,
    registers::r12,
    registers::r13,
    registers::r14,
    registers::r15,
];

/// Assembles the fixed parts of the page.
fn write_stub() {
    let flags = std::mem::offset_of!(State, rflags);
    let mxcsr = std::mem::offset_of!(State, mxcsr);
    let xmm = std::mem::offset_of!(State, xmm);
    let assemble =
        |address: u64, build: &dyn Fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>| {
            let mut a = CodeAssembler::new(64).expect("64 is a bitness");
            build(&mut a).expect("operands fit");
            write_code(address, &a.assemble(address).expect("encodable"));
        };
    assemble(CODE_PAGE, &|a| {
        for register in KEPT {
            a.push(register)?;
        }
        a.mov(qword_ptr(SAVED_RSP), rsp)?;
        a.mov(qword_ptr(STATE), rdi)?;
        a.mov(rax, rdi)?;
        a.ldmxcsr(dword_ptr(rax + mxcsr))?;
        for (i, register) in XMM.into_iter().enumerate() {
            a.movups(register, xmmword_ptr(rax + xmm + 16 * i))?;
        }
        a.push(qword_ptr(rax + flags))?;
        a.popfq()?;
        for (i, register) in GPR.into_iter().enumerate().rev() {
            a.mov(register, qword_ptr(rax + 8 * i))?;
        }
        a.jmp(CASE)
    });
    for (place, number) in [(FALL_THROUGH, 1u32), (TAKEN, 2), (FAULT, 3)] {
        assemble(place, &|a| {
            a.mov(qword_ptr(SAVED_RAX), rax)?;
            a.mov(byte_ptr(PLACE), number)?;
            a.jmp(STORE)
        });
    }
    assemble(STORE, &|a| {
        a.mov(rax, qword_ptr(STATE))?;
        for (i, register) in GPR.into_iter().enumerate().skip(1) {
            a.mov(qword_ptr(rax + 8 * i), register)?;
        }
        a.mov(rsp, qword_ptr(SAVED_RSP))?;
        a.pushfq()?;
        a.pop(qword_ptr(rax + flags))?;
        a.mov(rcx, qword_ptr(SAVED_RAX))?;
        a.mov(qword_ptr(rax), rcx)?;
        for (i, register) in XMM.into_iter().enumerate() {
            a.movups(xmmword_ptr(rax + xmm + 16 * i), register)?;
        }
        a.stmxcsr(dword_ptr(rax + mxcsr))?;
        a.ldmxcsr(dword_ptr(DEFAULT_MXCSR))?;
        a.push(0x202)?;
        a.popfq()?;
        for register in KEPT.into_iter().rev() {
            a.pop(register)?;
        }
        a.ret()
    });
    write_u64(DEFAULT_MXCSR, 0x1f80);
}

impl Executor for Native {
    fn run(&mut self, case: &Case) -> Outcome {
        let mut state = case.state.clone();
        let mut code = case.bytes.clone();
        let end = CASE + code.len() as u64;
        // jmp FALL_THROUGH
        code.push(0xe9);
        code.extend_from_slice(&((FALL_THROUGH - end - 5) as u32).to_le_bytes());
        write_code(CASE, &code);
        // SAFETY: the data pages are mapped for good and have this size.
        unsafe {
            std::ptr::copy_nonoverlapping(case.scratch.as_ptr(), SCRATCH as *mut u8, SCRATCH_SIZE)
        };
        write_u64(PLACE, 0);
        write_u64(VECTOR, 255);
        // SAFETY: the stub follows the calling convention: it saves what it must and ends with ret.
        let stub: extern "sysv64" fn(*mut State) =
            unsafe { std::mem::transmute(CODE_PAGE as *const ()) };
        stub(&mut state);
        let mut scratch = vec![0; SCRATCH_SIZE];
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(SCRATCH as *const u8, scratch.as_mut_ptr(), SCRATCH_SIZE)
        };
        let (rip, vector) = match read_u64(PLACE) {
            1 => (end, None),
            2 => (TAKEN, None),
            _ => (read_u64(FAULT_RIP), Some(read_u64(VECTOR) as u8)),
        };
        Outcome::Done {
            state: Box::new(state),
            rip,
            vector,
            scratch,
        }
    }
}
