"""The servers that clients are measured on."""
