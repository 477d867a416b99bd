"""Pure protocol of Golden Grain: no I/O, no clock, no sibling imports."""
