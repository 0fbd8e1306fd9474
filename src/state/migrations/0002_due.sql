-- What of a job its due times were computed from: a due time of another schedule was never missed.
ALTER TABLE due ADD COLUMN schedule TEXT NOT NULL DEFAULT '';
-- Who took last_due: taking it again, after an answer was lost, is no second time.
ALTER TABLE due ADD COLUMN claim TEXT;
-- The job whose success this one still has to follow.
ALTER TABLE due ADD COLUMN owed_after TEXT;
