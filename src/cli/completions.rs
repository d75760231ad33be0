//! `order-gateway completions`: prints a script that completes the command line in a shell.

use clap_complete::{Shell, generate};

use super::{Failure, print};

const EXAMPLE: &str = "\
Examples:
  order-gateway completions bash > /etc/bash_completion.d/order-gateway
  order-gateway completions zsh > \"${fpath[1]}/_order-gateway\"
  order-gateway completions fish > ~/.config/fish/completions/order-gateway.fish";

/// Print a script that completes commands and options in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, cli: &mut clap::Command) -> Result<(), Failure> {
    let name = cli.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, cli, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
