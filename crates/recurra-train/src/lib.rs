//! What makes a model better: loop, objectives, optimizers, schedules, recipes. Scores and samples through inference.
