-- What a task's prompt was rewritten to: written once, by the first attempt that got so far.
ALTER TABLE job ADD COLUMN upsampled_prompt TEXT;
