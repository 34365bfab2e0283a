"""Real servers for the tests marked ``external``; ``install.sh`` installs what they need."""
