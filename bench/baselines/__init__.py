"""What people would otherwise build, kept small and honest: the same tickets, the same servers, the usual way."""
