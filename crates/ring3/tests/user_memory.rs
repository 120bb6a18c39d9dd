//! User memory at addresses that a workload chooses.

use ring3::Session;
use ring3::nt::machine::boot::Config;

#[test]
fn pages_are_mapped_where_asked_and_once() {
    let mut session = Session::new(&Config::default());
    let app = session.process("app.exe").expect("a process");
    let other = session.process("other.exe").expect("a process");
    let at = 0x2000_0000;
    app.map(&mut session, at, 0x3000, true).expect("free");
    assert!(app.map(&mut session, at + 0x2000, 0x1000, true).is_err());
    other
        .map(&mut session, at, 0x1000, false)
        .expect("each process has its own user half");
    for bad in [0, 0x7fff_ffff_0000, 0xffff_f800_0000_0000] {
        assert!(
            app.map(&mut session, bad, 0x1000, true).is_err(),
            "{bad:#x}"
        );
    }
    assert!(app.map(&mut session, 0x3000_0000, u64::MAX, true).is_err());
    let ids: Vec<_> = session
        .machine
        .processes
        .values()
        .filter(|p| p.name.ends_with(".exe"))
        .map(|p| p.id)
        .collect();
    let [first, second] = ids[..] else {
        panic!("{ids:?}")
    };
    assert!(session.machine.user_write(first, at, b"one"));
    assert_eq!(
        session.machine.user_read(first, at, 3).as_deref(),
        Some(&b"one"[..])
    );
    assert_eq!(
        session.machine.user_read(second, at, 3).as_deref(),
        Some(&[0; 3][..])
    );
}
