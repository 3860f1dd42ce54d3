"""The roles that every database has, by slug: name and description."""

APPLICATION_ACCESS = "application-access"
ROLES = {
    APPLICATION_ACCESS: ("Application Access", "May use the application."),
    "superuser": ("Superuser", "May do everything."),
    "fitness-trainer": ("Fitness Trainer", "May train others."),
}
