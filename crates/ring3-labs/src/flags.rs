//! The command lines of compiler and linker. Why each of them is needed is in `docs/building-drivers.md`.

/// Flags of the compiler. What belongs together stands in one group.
pub const COMPILE: &[&[&str]] = &[
    &["--target=x86_64-pc-windows-msvc"],
    &["-ffreestanding"],
    &["-nostdinc"],
    &["-Iddk/include"],
    &["-O2"],
    &["-g"],
    &["-gcodeview"],
    &["-gno-codeview-command-line"],
    &["-fdebug-compilation-dir=."],
    &["-fms-extensions"],
    &["-fno-builtin"],
    &["-fasynchronous-unwind-tables"],
    &["-fasync-exceptions"],
    &["-Xclang", "-fno-elide-constructors"],
    &["-mllvm", "-disable-nounwind-inference"],
    &["-fstack-protector-strong"],
    &["-Xclang", "-cfguard"],
    &["-Wall"],
    &["-Wextra"],
];

/// What only passes the next word on and is no flag by itself.
const PASS_ON: [&str; 2] = ["-Xclang", "-mllvm"];

/// Flags of the linker; names of files and the entry point come on top.
pub const LINK: &[&str] = &[
    "/driver:wdm",
    "/subsystem:native",
    "/nodefaultlib",
    "/dynamicbase",
    "/debug",
    "/Brepro",
    "/release",
    "/guard:cf",
    "/opt:ref",
    "/opt:noicf",
    "/merge:.00cfg=.rdata",
    "/pdbsourcepath:/ring3",
    "/section:INIT,ERD",
];

/// The compiler's flags without the groups that contain one of `remove`, and with `add`.
///
/// # Errors
/// The first name in `remove` that is no flag.
pub fn compile(add: &[String], remove: &[String]) -> Result<Vec<String>, String> {
    let names = |group: &[&str], name: &String| {
        group
            .iter()
            .any(|flag| flag == name && !PASS_ON.contains(flag))
    };
    if let Some(unknown) = remove
        .iter()
        .find(|name| !COMPILE.iter().any(|group| names(group, name)))
    {
        return Err(unknown.clone());
    }
    let kept = COMPILE
        .iter()
        .filter(|group| !remove.iter().any(|name| names(group, name)));
    Ok(kept
        .flat_map(|group| group.iter())
        .map(|flag| (*flag).to_owned())
        .chain(add.iter().cloned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_flag_takes_its_prefix_with_it() {
        let flags = compile(&[], &["-fno-elide-constructors".to_owned()]).expect("known flag");
        assert!(!flags.iter().any(|flag| flag == "-fno-elide-constructors"));
        assert_eq!(flags.iter().filter(|flag| *flag == "-Xclang").count(), 1);
        assert!(flags.iter().any(|flag| flag == "-cfguard"));
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert_eq!(
            compile(&[], &["-fno-such".to_owned()]),
            Err("-fno-such".to_owned())
        );
    }
}
