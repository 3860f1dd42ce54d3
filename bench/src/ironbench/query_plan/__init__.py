"""Plans of one query under settings of PostgreSQL's planner: measured in a cluster of its own, held against claims."""
