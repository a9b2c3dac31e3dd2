"""What people see of a job: its message, corrections of it, its pictures, and the reactions under them."""
