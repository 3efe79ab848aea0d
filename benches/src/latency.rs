//! Times of several subjects, taken in turns, so that a machine that changes its speed changes it for all.

use std::time::{Duration, Instant};

/// Turns that each subject gets.
const ROUNDS: usize = 40;
/// Length of a turn. Long enough that the subject works with its own data in the cache, as it would alone.
const TURN: Duration = Duration::from_millis(50);
/// Calls at the start of a turn that are not counted.
const WARM_UP: usize = 3;

/// Something to be timed; an error ends the measuring.
pub type Subject<'a> = Box<dyn FnMut() -> anyhow::Result<()> + 'a>;

/// Microseconds of every counted call of each subject, in the order of `subjects`.
///
/// # Errors
/// The first of a subject.
pub fn interleaved(subjects: &mut [Subject<'_>]) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            for _ in 0..WARM_UP {
                subject()?;
            }
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                let start = Instant::now();
                subject()?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subjects_error_ends_the_measuring() {
        let mut subjects: Vec<Subject<'_>> = vec![Box::new(|| anyhow::bail!("broken"))];
        assert_eq!(interleaved(&mut subjects).unwrap_err().to_string(), "broken");
    }
}
