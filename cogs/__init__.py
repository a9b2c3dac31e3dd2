"""Discord in, Discord out: one feature a file. A file that starts with an underscore is not an extension."""
