//! A page of digits becomes a [`Reading`]: what stands there, how sure each digit is, and why where nothing does.

use models::Digit;
use models::glyph::{Glyph, GlyphError, Page, Rect};
use serde_json::{Map, Value, json};

use crate::engine::EngineError;
use crate::{Classifier, Prediction};

/// Less [`evidence`](Prediction::evidence) than this is no digit, by models that were exported here. Of the released
/// one docs/realdigits.md has the curve.
pub const REJECT: f32 = 3.1;

/// What is read on a picture.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Lines from the top, the answers of each from the left.
    pub lines: Vec<Vec<Answer>>,
    /// Why there is no digit; `None` where there is one.
    pub reason: Option<String>,
}

/// One digit of a picture, or what was taken for one at first.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the network sees.
    pub digit: Digit,
    /// What it answers.
    pub prediction: Prediction,
    /// Where it stands on the upright picture, in its pixels.
    pub bounds: Rect,
    /// Whether there is too little evidence for any digit.
    pub refused: bool,
}

impl Reading {
    /// The reading of a picture without digits.
    pub fn none(error: &GlyphError) -> Reading {
        Reading {
            lines: Vec::new(),
            reason: Some(error.to_string()),
        }
    }

    /// The digits that were not refused, in reading order.
    pub fn digits(&self) -> impl Iterator<Item = &Answer> {
        self.lines.iter().flatten().filter(|answer| !answer.refused)
    }

    /// The digits as they stand on the picture, a line each; `?` among them where one was refused, empty where all were.
    pub fn text(&self) -> String {
        if self.reason.is_some() {
            return String::new();
        }
        let line = |line: &Vec<Answer>| line.iter().map(Answer::character).collect();
        self.lines.iter().map(line).collect::<Vec<String>>().join("\n")
    }

    /// The reading of a page, from the predictions of its digits in their order. A digit with less evidence than `reject`
    /// is refused.
    ///
    /// # Panics
    /// When there are fewer predictions than digits.
    pub fn new(page: &Page, predictions: impl IntoIterator<Item = Prediction>, reject: f32) -> Reading {
        let mut predictions = predictions.into_iter();
        let mut answer = |glyph: &Glyph| {
            let prediction = predictions.next().expect("there is a prediction for every digit");
            Answer {
                digit: glyph.digit,
                refused: prediction.evidence < reject,
                prediction,
                bounds: glyph.bounds,
            }
        };
        let lines = page.lines.iter();
        Reading::of_lines(
            lines.map(|line| line.iter().map(&mut answer).collect()).collect(),
            reject,
        )
    }

    /// The reading with nothing but its largest digit; as it is where all were refused.
    pub fn single(self) -> Reading {
        if self.reason.is_some() {
            return self;
        }
        let digits = self.lines.into_iter().flatten().filter(|answer| !answer.refused);
        let largest = digits.max_by_key(|answer| u64::from(answer.bounds.width) * u64::from(answer.bounds.height));
        Reading {
            lines: vec![largest.into_iter().collect()],
            reason: None,
        }
    }

    /// The object that docs/json.md describes, without `file`.
    pub fn to_json(&self) -> Map<String, Value> {
        let digits: Vec<Value> = self.digits().map(Answer::to_json).collect();
        let refused = self.lines.iter().flatten().filter(|answer| answer.refused);
        let refused: Vec<Value> = refused.map(Answer::to_json).collect();
        let mut object = Map::new();
        object.insert("text".into(), self.text().into());
        if let [Value::Object(digit)] = &digits[..] {
            for key in ["digit", "confidence", "probabilities"] {
                object.insert(key.into(), digit[key].clone());
            }
        }
        object.insert("digits".into(), digits.into());
        object.insert("refused".into(), refused.into());
        object.insert("reason".into(), self.reason.clone().into());
        object
    }

    fn of_lines(lines: Vec<Vec<Answer>>, reject: f32) -> Reading {
        let answers = || lines.iter().flatten();
        let most = answers().map(|answer| answer.prediction.evidence).reduce(f32::max);
        let reason = answers().all(|answer| answer.refused).then(|| match most {
            Some(most) => {
                format!("no digit found: what is drawn looks like none (evidence {most:.2}, {reject:.2} is asked for)")
            }
            None => "no digit found".to_owned(),
        });
        Reading { lines, reason }
    }
}

impl Answer {
    fn to_json(&self) -> Value {
        let (prediction, bounds) = (&self.prediction, self.bounds);
        json!({
            "digit": prediction.digit,
            "confidence": prediction.confidence,
            "evidence": prediction.evidence,
            "probabilities": prediction.probabilities,
            "box": { "left": bounds.left, "top": bounds.top, "width": bounds.width, "height": bounds.height },
        })
    }

    fn character(&self) -> char {
        match self.refused {
            true => '?',
            false => char::from(b'0' + self.prediction.digit),
        }
    }
}

impl Classifier {
    /// The evidence below which there is no digit: [`REJECT`], and nothing for a foreign model, whose logits may be of
    /// any size.
    pub fn reject(&self) -> f32 {
        self.contract().map_or(f32::NEG_INFINITY, |_| REJECT)
    }

    /// Reads pages; as many readings as pages, in their order. A digit with less evidence than `reject` is refused.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn read_all<'a>(
        &mut self,
        pages: impl IntoIterator<Item = &'a Page>,
        reject: f32,
    ) -> Result<Vec<Reading>, EngineError> {
        let pages: Vec<&Page> = pages.into_iter().collect();
        let glyphs = pages.iter().flat_map(|page| page.lines.iter().flatten());
        let digits: Vec<Digit> = glyphs.map(|glyph| glyph.digit).collect();
        let mut predictions = self.classify_all(&digits)?.into_iter();
        let readings = pages.iter().map(|page| Reading::new(page, &mut predictions, reject));
        Ok(readings.collect())
    }
}

#[cfg(test)]
mod tests {
    use models::{CLASSES, PIXELS};

    use super::*;

    /// An answer with so much evidence for a digit.
    fn answer(digit: usize, evidence: f32, reject: f32) -> Answer {
        let mut logits = [-50.0; CLASSES];
        logits[digit] = evidence;
        Answer {
            digit: Digit([0; PIXELS]),
            prediction: Prediction::from_logits(&logits, 1.0),
            bounds: Rect {
                left: 0,
                top: 0,
                width: 1,
                height: 1,
            },
            refused: evidence < reject,
        }
    }

    fn reading(lines: &[&[(usize, f32)]]) -> Reading {
        let line = |line: &&[(usize, f32)]| {
            line.iter()
                .map(|&(digit, evidence)| answer(digit, evidence, 5.0))
                .collect()
        };
        Reading::of_lines(lines.iter().map(line).collect(), 5.0)
    }

    #[test]
    fn text_is_what_stands_on_the_picture() {
        let found = reading(&[&[(2, 9.0), (0, 8.0)], &[(7, 9.0)]]);
        assert_eq!((found.text().as_str(), found.reason), ("20\n7", None));
        assert_eq!(reading(&[&[(2, 9.0), (0, 1.0), (4, 7.0)]]).text(), "2?4");
    }

    #[test]
    fn the_largest_digit_is_none_that_was_refused() {
        let mut found = reading(&[&[(2, 1.0), (7, 9.0)], &[(4, 9.0)]]);
        found.lines[0][0].bounds.width = 30;
        found.lines[0][1].bounds.width = 20;
        assert_eq!(found.single().text(), "7");
        let refused = reading(&[&[(2, 1.0), (7, 2.0)]]).single();
        assert_eq!((refused.lines[0].len(), refused.reason.is_some()), (2, true));
    }

    #[test]
    fn too_little_evidence_is_no_digit() {
        let found = reading(&[&[(2, 3.0)]]);
        assert_eq!((found.text().as_str(), found.digits().count()), ("", 0));
        assert!(found.reason.unwrap().contains("evidence 3.00, 5.00 is asked for"));
    }
}
