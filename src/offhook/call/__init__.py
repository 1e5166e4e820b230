"""One phone call, decided: no sockets, no clock, nothing that waits. See README.md."""
