"""What the `iec-hub` command does, one module per subcommand; importing them is light."""
