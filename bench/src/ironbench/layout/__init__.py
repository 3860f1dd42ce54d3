"""Which CPUs to give to whom: a host's topology, what is wrong with a layout there, and the best one."""
