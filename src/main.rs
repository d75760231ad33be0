//! The binary: chooses allocator and crypto for the process, then leaves all to [`order_gateway::cli`].

use std::process::ExitCode;

/// CreateOrder needs a fifth less CPU with it than with the allocator of glibc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Only fails when one is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    order_gateway::cli::main()
}
