//! Which instructions can be compared.

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeOperandKind};

/// The instructions that a user-mode process can run in isolation and whose result depends on nothing else.
pub fn candidates() -> Vec<Code> {
    Code::values().filter(|&code| is_candidate(code)).collect()
}

fn is_candidate(code: Code) -> bool {
    let info = code.op_code();
    let kinds = info.op_kinds();
    info.is_instruction()
        && info.mode64()
        && info.cpl3()
        && code.encoding() == EncodingKind::Legacy
        && !info.is_privileged()
        && !info.is_input_output()
        && code
            .cpuid_features()
            .iter()
            .all(|&feature| is_known(feature))
        && kinds.iter().all(|&kind| operand_is_known(kind))
        && !is_denied(code)
}

fn is_known(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        F::INTEL8086
            | F::INTEL8086_ONLY
            | F::INTEL186
            | F::INTEL286
            | F::INTEL286_ONLY
            | F::INTEL386
            | F::INTEL386_ONLY
            | F::INTEL486
            | F::X64
            | F::MULTIBYTENOP
            | F::CMOV
            | F::CX8
            | F::CMPXCHG16B
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::AES
            | F::PCLMULQDQ
            | F::POPCNT
            | F::PAUSE
            | F::PREFETCHW
            | F::CLFSH
            | F::LZCNT
            | F::BMI1
            | F::ADX
            | F::MOVBE
            | F::CET_IBT
    )
}

/// Whether the processor that runs this test has what the instruction needs.
#[cfg(target_arch = "x86_64")]
pub fn host_has(code: Code) -> bool {
    use CpuidFeature as F;
    code.cpuid_features().iter().all(|feature| match feature {
        F::SSE3 => is_x86_feature_detected!("sse3"),
        F::SSSE3 => is_x86_feature_detected!("ssse3"),
        F::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        F::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        F::AES => is_x86_feature_detected!("aes"),
        F::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        F::POPCNT => is_x86_feature_detected!("popcnt"),
        F::CMPXCHG16B => is_x86_feature_detected!("cmpxchg16b"),
        F::LZCNT => is_x86_feature_detected!("lzcnt"),
        F::BMI1 => is_x86_feature_detected!("bmi1"),
        F::ADX => is_x86_feature_detected!("adx"),
        F::MOVBE => is_x86_feature_detected!("movbe"),
        _ => true,
    })
}

fn operand_is_known(kind: OpCodeOperandKind) -> bool {
    use OpCodeOperandKind as K;
    matches!(
        kind,
        K::mem_offs
            | K::mem
            | K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::xmm_or_mem
            | K::r8_reg
            | K::r8_opcode
            | K::r16_reg
            | K::r16_reg_mem
            | K::r16_rm
            | K::r16_opcode
            | K::r32_reg
            | K::r32_reg_mem
            | K::r32_rm
            | K::r32_opcode
            | K::r64_reg
            | K::r64_reg_mem
            | K::r64_rm
            | K::r64_opcode
            | K::xmm_reg
            | K::xmm_rm
            | K::al
            | K::cl
            | K::ax
            | K::dx
            | K::eax
            | K::rax
            | K::imm8
            | K::imm8_const_1
            | K::imm8sex16
            | K::imm8sex32
            | K::imm8sex64
            | K::imm16
            | K::imm32
            | K::imm32sex64
            | K::imm64
            | K::seg_rSI
            | K::es_rDI
            | K::seg_rDI
            | K::seg_rBX_al
            | K::br64_1
            | K::br64_4
    )
}

fn is_denied(code: Code) -> bool {
    use Mnemonic as M;
    // Depend on time, identity or system state, or leave for the system.
    let mnemonic = matches!(
        code.mnemonic(),
        M::Cpuid
            | M::Rdtsc
            | M::Rdpmc
            | M::Syscall
            | M::Sysenter
            | M::Int
            | M::Int1
            | M::Int3
            | M::Iret
            | M::Iretd
            | M::Iretq
            | M::Sti
            | M::Cli
            | M::Fxsave
            | M::Fxsave64
            | M::Fxrstor
            | M::Fxrstor64
            | M::Lar
            | M::Lsl
            | M::Verr
            | M::Verw
            | M::Sldt
            | M::Str
            | M::Smsw
            | M::Sgdt
            | M::Sidt
            | M::Retf
            | M::Wait
            | M::Ud0
            | M::Ud1
            | M::Ud2
            | M::Popf
            | M::Pushf
            | M::Lss
            | M::Lfs
            | M::Lgs
            | M::Nop
            | M::Reservednop
    );
    // Intel and AMD processors differ about branches of 16-bit operand size, far branches, and how much of its
    // operand MOVSXD with a 16-bit destination reads.
    let name = format!("{code:?}");
    let differs = [
        "Movsxd_r16",
        "Call_rm16",
        "Jmp_rm16",
        "Retnw",
        "Call_m",
        "Jmp_m",
        "Leavew",
        "Enterw",
    ]
    .iter()
    .any(|p| name.starts_with(p));
    (mnemonic && !matches!(code, Code::Nopd | Code::Nop_rm32 | Code::Nop_rm64)) || differs
}
