//! The labs: small drivers, each with scenarios and the outcome they must have.
//!
//! A lab is a folder with a `lab.toml`, C sources, the built drivers with their PDBs, scenarios and
//! a page that explains it. This crate reads the description ([`lab`]), says whether an outcome is
//! the expected one ([`expect`]) and builds drivers with clang and lld, no Windows kit needed
//! ([`build`]). The format is described in `docs/labs.md`, the building in `docs/building-drivers.md`.

#![forbid(unsafe_code)]

pub mod build;
pub mod expect;
pub mod flags;
pub mod kit;
pub mod lab;
pub mod toolchain;
