"""The history of jobs in SQL. The program's start loads no SQLAlchemy: ``database`` does, when it opens."""
