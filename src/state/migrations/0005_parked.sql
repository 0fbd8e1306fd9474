-- Until when the job is parked, and why; both null where it is not, or not until a moment.
ALTER TABLE due ADD COLUMN parked_until TEXT;
ALTER TABLE due ADD COLUMN parked_reason TEXT;
