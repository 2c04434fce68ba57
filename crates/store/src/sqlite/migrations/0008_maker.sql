-- The engine and the model that made a task's pictures: set together, for successes alone.
ALTER TABLE job ADD COLUMN engine_name TEXT;
ALTER TABLE job ADD COLUMN model_name TEXT;
