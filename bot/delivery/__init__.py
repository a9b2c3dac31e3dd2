"""What people see of a job: its message and the corrections to it, its pictures, and the reactions under them."""
