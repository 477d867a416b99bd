"""The command line `gg`: reads arguments, calls the SDK, shows results; holds no rules of its own."""
