//! Builds real drivers. Needs clang and lld; without them each test says so and ends.

use std::fs;
use std::path::{Path, PathBuf};

use ring3_labs::build::{BuildError, Built, Options, build_driver_with};
use ring3_labs::lab;
use ring3_labs::toolchain::Toolchain;

fn tools() -> Option<Toolchain> {
    match Toolchain::find() {
        Ok(tools) => Some(tools),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn labs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs")
}

fn build(tools: &Toolchain, source: &Path, options: &Options) -> Built {
    build_driver_with(tools, &[source.to_owned()], options)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_directory_does_not_get_into_the_bytes() {
    let Some(tools) = tools() else { return };
    let original = labs().join("first-driver/first-driver.c");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let copy = elsewhere.path().join("first-driver.c");
    fs::copy(&original, &copy).expect("a copy");
    let options = Options::new("first-driver");
    let (first, second) = (
        build(&tools, &original, &options),
        build(&tools, &copy, &options),
    );
    assert_eq!(first.warnings, "");
    assert!(first.sys == second.sys, "the images differ");
    assert!(first.pdb == second.pdb, "the PDBs differ");
    let place = labs()
        .canonicalize()
        .expect("labs")
        .to_string_lossy()
        .into_owned();
    assert!(
        !first
            .pdb
            .windows(place.len())
            .any(|window| window == place.as_bytes()),
        "the PDB names {place}"
    );
}

#[test]
fn a_define_and_a_missing_flag_change_the_driver() {
    let Some(tools) = tools() else { return };
    let source = labs().join("seh-cases/seh-cases.c");
    let right = build(&tools, &source, &Options::new("seh-cases"));
    let mut options = Options::new("seh-cases");
    options.flags_remove = vec!["-fasync-exceptions".to_owned()];
    assert!(build(&tools, &source, &options).sys != right.sys);
}

#[test]
fn what_the_compiler_says_is_the_error() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let source = folder.path().join("broken.c");
    fs::write(&source, "#include <ntddk.h>\nNTSTATUS DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING r) { return Nonsense; }\n").expect("a file");
    match build_driver_with(
        &tools,
        std::slice::from_ref(&source),
        &Options::new("broken"),
    ) {
        Err(BuildError::Refused { step, text }) => {
            assert_eq!(step, "compiling broken.c");
            assert!(
                text.contains("broken.c:2:") && text.contains("Nonsense"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_routine_that_the_kit_does_not_declare_fails_by_name() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let source = folder.path().join("unknown.c");
    fs::write(&source, "#include <ntddk.h>\nNTKERNELAPI void NoSuchRoutine(void);\nNTSTATUS DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING r) { (void)d; (void)r; NoSuchRoutine(); return 0; }\n").expect("a file");
    match build_driver_with(
        &tools,
        std::slice::from_ref(&source),
        &Options::new("unknown"),
    ) {
        Err(BuildError::Refused { text, .. }) => assert!(text.contains("NoSuchRoutine"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pieces_of_the_kit_are_linked_only_where_they_are_used() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let source = folder.path().join("secure.c");
    fs::write(
        &source,
        r#"#include <wdmsec.h>
NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Secure");
    PDEVICE_OBJECT device;
    UNREFERENCED_PARAMETER(RegistryPath);
    return IoCreateDeviceSecure(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE,
                                &SDDL_DEVOBJ_SYS_ALL_ADM_ALL, NULL, &device);
}
"#,
    )
    .expect("a file");
    let imports = |built: &Built| {
        built
            .sys
            .windows(20)
            .any(|window| window == b"ZwSetSecurityObject\0")
    };
    let secure = build(&tools, &source, &Options::new("secure"));
    assert_eq!(secure.warnings, "");
    assert!(imports(&secure));
    let plain = labs().join("first-driver/first-driver.c");
    assert!(!imports(&build(
        &tools,
        &plain,
        &Options::new("first-driver")
    )));
}

#[test]
fn sources_that_cannot_be_built_are_told() {
    let Some(tools) = tools() else { return };
    let error = |source: &str, name: &str| {
        build_driver_with(&tools, &[source.into()], &Options::new(name))
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        error("no/such/file.c", "x"),
        "no/such/file.c: there is no such file"
    );
    assert_eq!(
        error("driver.cpp", "x"),
        "driver.cpp: only C (.c) and assembly (.s) sources are built here"
    );
    assert!(error("x.c", "../x").contains("`../x` cannot be the name of a driver"));
}

#[test]
fn every_lab_has_its_files() {
    for lab in lab::list(&labs()).unwrap_or_else(|error| panic!("{error}")) {
        assert!(
            lab.folder.join("README.md").is_file(),
            "{} has no README.md",
            lab.slug
        );
        for variant in &lab.variants {
            for driver in lab.drivers(variant) {
                assert!(driver.is_file(), "{} is missing", driver.display());
                assert!(
                    driver.with_extension("pdb").is_file(),
                    "{} has no PDB",
                    driver.display()
                );
            }
            if let Some(scenario) = lab.scenario(variant) {
                assert!(scenario.is_file(), "{} is missing", scenario.display());
            }
        }
        for job in lab.builds() {
            assert!(job.source.is_file(), "{} is missing", job.source.display());
        }
    }
}
