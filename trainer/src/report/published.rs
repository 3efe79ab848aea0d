//! The figures that the study repeats, from `published.toml`.

use models::CLASSES;
use serde::Deserialize;

/// One row of the published tables.
#[derive(Deserialize)]
pub struct Published {
    /// Name of the experiment in the study's file.
    pub experiment: String,
    /// Name of its counterpart's runs, without the seed.
    pub run: String,
    /// Train loss, train accuracy, test loss, test accuracy.
    pub figures: [f64; 4],
    /// Accuracy of each digit on the training digits.
    pub train: [f64; CLASSES],
    /// Accuracy of each digit on the test digits.
    pub test: [f64; CLASSES],
}

#[derive(Deserialize)]
struct File {
    row: Vec<Published>,
}

/// All rows.
///
/// # Errors
/// None but those of a broken file in the source.
pub fn read() -> anyhow::Result<Vec<Published>> {
    Ok(toml::from_str::<File>(include_str!("published.toml"))?.row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_row_has_its_counterpart_in_the_shipped_study() {
        let plan = crate::study::Plan::parse(crate::study::SHIPPED, &[]).unwrap();
        for row in read().unwrap() {
            let experiment = plan
                .experiments
                .iter()
                .find(|experiment| experiment.name == row.experiment)
                .unwrap();
            for seed in 0..3 {
                let name = format!("{}-seed{seed}", row.run);
                assert!(
                    experiment.runs.iter().any(|run| run.name == name),
                    "{name} in {}",
                    row.experiment
                );
            }
        }
    }
}
