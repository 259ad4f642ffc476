//! The whole folder: what is saved comes back, and nothing else passes for it.

mod damage;
mod fixture;
mod foreign;
mod interrupted;
mod run_folder;
mod state;
