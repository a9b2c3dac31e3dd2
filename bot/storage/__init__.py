"""What is kept: one SQLite file and a folder of pictures. Each module owns the tables it names."""
