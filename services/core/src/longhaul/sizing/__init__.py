"""How large a Longhaul must be for a load: the sizing guide as pure functions, without I/O."""
