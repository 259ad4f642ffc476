//! A machine that stops, or a disk that refuses, at any step of saving.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::fixture::{Run, copy_folder, saved_run, tokenizer_json};
use crate::disk::{Disk, DiskFile, LocalDisk};
use crate::{Error, ModelFolder, StateFile, Warning};

/// A disk that stops for good after so many steps: what follows, cleaning up included, does not happen. A write on
/// which it stops is half done, and of files that were not synced the bytes are lost.
#[derive(Clone)]
struct StoppingDisk(Arc<Stopping>);

struct Stopping {
    steps: AtomicUsize,
    unsynced: Mutex<Vec<PathBuf>>,
}

/// A disk that has room for so many bytes, and takes part in everything else.
struct FullDisk {
    bytes: Arc<AtomicUsize>,
}

/// A disk on which no file can be made.
struct ReadOnlyDisk;

impl StoppingDisk {
    fn after(steps: usize) -> StoppingDisk {
        let unsynced = Mutex::default();
        StoppingDisk(Arc::new(Stopping { steps: AtomicUsize::new(steps), unsynced }))
    }

    fn step(&self) -> io::Result<()> {
        let left = self
            .0
            .steps
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| {
            for path in self.unsynced().drain(..) {
                let _ = File::options().write(true).truncate(true).open(path);
            }
            io::Error::other("the machine has stopped")
        })
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.unsynced.lock().unwrap()
    }
}

impl Disk for StoppingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        let file = LocalDisk.create(path)?;
        self.unsynced().push(path.to_owned());
        Ok(Box::new(StoppingFile { file, path: path.to_owned(), disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.rename(from, to)?;
        let mut unsynced = self.unsynced();
        unsynced.retain(|path| path != to);
        unsynced.iter_mut().filter(|path| *path == from).for_each(|path| *path = to.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.sync_folder(path)
    }
}

struct StoppingFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    disk: StoppingDisk,
}

impl DiskFile for StoppingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.step() {
            Ok(()) => self.file.write(bytes),
            Err(error) => self.file.write(&bytes[..bytes.len() / 2]).and(Err(error)),
        }
    }

    fn overwrite(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        match self.disk.step() {
            Ok(()) => self.file.overwrite(start, bytes),
            Err(error) => self.file.overwrite(start, &bytes[..bytes.len() / 2]).and(Err(error)),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step()?;
        self.file.sync()?;
        self.disk.unsynced().retain(|path| *path != self.path);
        Ok(())
    }
}

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FullFile { file: LocalDisk.create(path)?, bytes: self.bytes.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_folder(path)
    }
}

struct FullFile {
    file: Box<dyn DiskFile>,
    bytes: Arc<AtomicUsize>,
}

impl DiskFile for FullFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.bytes.load(Ordering::Relaxed).min(bytes.len());
        self.bytes.fetch_sub(room, Ordering::Relaxed);
        self.file.write(&bytes[..room])?;
        if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn overwrite(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.overwrite(start, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Disk for ReadOnlyDisk {
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Stops the machine after 0, 1, 2, … steps of `save` until it has enough; after each, `check` sees the folder.
/// Returns how many steps it took.
fn stop_at_every_step(
    start: &Path,
    save: impl Fn(&ModelFolder) -> crate::Result<()>,
    check: impl Fn(&ModelFolder, usize),
) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    for steps in 0.. {
        let path = copy_folder(start, &scratch.path().join(steps.to_string()));
        let mut folder = ModelFolder::resume(&path).unwrap();
        // A run that goes on has read its last checkpoint.
        let _ = folder.load_training();
        folder.set_disk(Box::new(StoppingDisk::after(steps)));
        let result = save(&folder);
        drop(folder);
        let folder = ModelFolder::resume(&path).unwrap();
        check(&folder, steps);
        if result.is_ok() {
            return steps;
        }
    }
    unreachable!()
}

#[test]
fn a_machine_that_stops_while_saving_a_run_leaves_a_whole_checkpoint() {
    let start = tempfile::tempdir().unwrap();
    drop(saved_run(start.path()));
    let check = |folder: &ModelFolder, steps: usize| {
        let (saved, warning) = folder.load_training().unwrap();
        let step = saved.progress["step"].as_u64().unwrap();
        Run::new(step as u32).check(&saved);
        assert!(step == 2 || step == 3, "after {steps} steps the checkpoint of step {step}");
        let missing =
            matches!(warning, Some(Warning::UsedPrevious { reason: Error::Io { .. }, .. }));
        assert!(warning.is_none() || (missing && step == 2), "after {steps} steps: {warning:?}");
        // And the run goes on.
        Run::new(4).save_training(folder).unwrap();
        Run::new(4).check(&folder.load_training().unwrap().0);
    };
    let steps = stop_at_every_step(start.path(), |folder| Run::new(3).save_training(folder), check);
    assert!(steps > 10, "saving took {steps} steps only: the test stops at none of them");
}

#[test]
fn a_machine_that_stops_while_saving_the_first_checkpoint_leaves_none_or_a_whole_one() {
    let start = tempfile::tempdir().unwrap();
    drop(ModelFolder::create(start.path()).unwrap());
    let save = |folder: &ModelFolder| {
        folder.save_config(Run::new(1).model.config(), &tokenizer_json())?;
        Run::new(1).save_training(folder)
    };
    stop_at_every_step(start.path(), save, |folder, steps| match folder.load_training() {
        Ok((saved, warning)) => {
            assert!(warning.is_none(), "after {steps} steps");
            Run::new(1).check(&saved);
        }
        Err(Error::NoTrainingState { .. }) => save(folder).unwrap(),
        Err(error) => panic!("after {steps} steps: {error}"),
    });
}

#[test]
fn a_machine_that_stops_while_saving_a_model_leaves_a_whole_one() {
    let start = tempfile::tempdir().unwrap();
    drop(saved_run(start.path()));
    let save = |folder: &ModelFolder| Run::new(3).save_model(folder);
    let sha = |seed| crate::weights_sha256(&Run::new(seed).parameters);
    let (before, after) = (sha(2), sha(3));
    stop_at_every_step(start.path(), save, |folder, steps| {
        let saved = folder.load_model().unwrap();
        assert!([&before, &after].contains(&&saved.weights_sha256), "after {steps} steps");
        assert_eq!(crate::weights_sha256(&saved.parameters), saved.weights_sha256);
    });
}

#[test]
fn what_a_stopped_machine_left_behind_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let left = [".model.safetensors.tmp", ".config.json.tmp", "training/.last.safetensors.tmp"];
    left.iter().for_each(|name| fs::write(folder.path().join(name), "half").unwrap());
    drop(ModelFolder::resume(folder.path()).unwrap());
    left.iter().for_each(|name| assert!(!folder.path().join(name).exists(), "{name}"));
}

/// Saving fails with a hint, and everything is as it was before, byte for byte.
#[track_caller]
fn check_refusing_disk(disk: impl Fn() -> Box<dyn Disk>, expected: io::ErrorKind) {
    let folder = tempfile::tempdir().unwrap();
    let mut held = saved_run(folder.path());
    let names = ["model.safetensors", "training/last.safetensors", "training/previous.safetensors"];
    let read = || names.map(|name| fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let run = Run::new(3);
    let saves: [fn(&Run, &ModelFolder) -> crate::Result<()>; 2] =
        [Run::save_model, Run::save_training];
    for save in saves {
        held.set_disk(disk());
        let error = save(&run, &held).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == expected),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("whole"));
        assert!(read() == before);
        let left: Vec<_> = ["", "training"]
            .iter()
            .flat_map(|name| fs::read_dir(folder.path().join(name)).unwrap())
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().ends_with(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // The run itself may go on, and save when there is room.
    held.set_disk(Box::new(LocalDisk));
    run.save_training(&held).unwrap();
    run.check(&held.load_training().unwrap().0);
}

#[test]
fn a_full_disk_leaves_the_checkpoint_before_it_whole() {
    for room in [0, 1, 100, 1000, 2000] {
        let disk =
            || Box::new(FullDisk { bytes: Arc::new(AtomicUsize::new(room)) }) as Box<dyn Disk>;
        check_refusing_disk(disk, io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_read_only_disk_leaves_the_checkpoint_before_it_whole() {
    check_refusing_disk(|| Box::new(ReadOnlyDisk), io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn a_state_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let run = Run::new(1);
    let sha = crate::weights_sha256(&run.parameters);
    let before = StateFile { state: run.carried.clone(), position: "before".into() };
    before.save(&path, &run.model, &sha).unwrap();
    let after = StateFile { position: "after".into(), ..before.clone() };
    for steps in 0.. {
        let result = after.save_to(&StoppingDisk::after(steps), &path, &run.model, &sha);
        let found = StateFile::load(&path, &run.model, &sha).unwrap().position;
        assert!(found == "before" || found == "after", "{found}");
        if result.is_ok() {
            assert_eq!(found, "after");
            return;
        }
    }
}
