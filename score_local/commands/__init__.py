"""The commands of the command line, one module each: flags in, exit code out."""
