//! Panels of lines with bands, grids of cells, and their style, as SVG that is legible on light and dark paper.

use maud::{Markup, html};

/// Width of a figure.
pub const WIDTH: f64 = 860.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 34.0;
const PANEL: (f64, f64) = (350.0, 170.0);
/// From one panel to the next.
const PITCH: (f64, f64) = (430.0, 258.0);
/// Lines that are told apart by colour and by dashes.
pub const STYLES: usize = 7;

/// Okabe and Ito's colours, told apart by the colour-blind; those that vanish on dark paper are lighter there.
pub const STYLE: &str = "
:root{--paper:#fff;--ink:#1b1f24;--muted:#5b6570;--rule:#e3e7eb;--heat:#d55e00;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#aa4499;--c4:#b07500;--c5:#2a8fc7;--c6:#1b1f24}
@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6eaee;--muted:#9aa5b1;--rule:#2b323a;--heat:#f0793a;
--c0:#56b4e9;--c1:#f0793a;--c2:#2fc99b;--c3:#dd8fc0;--c4:#e69f00;--c5:#9ad1f5;--c6:#e6eaee}}
svg{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)}
svg .title{font-weight:600}svg .muted{fill:var(--muted)}svg .small{font-size:11px}svg .mid{text-anchor:middle}svg .end{text-anchor:end}
svg .rule{stroke:var(--rule);fill:none}svg .frame{stroke:var(--muted);fill:none;stroke-width:.8}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}svg .band{stroke:none;fill-opacity:.16}
svg .heat{fill:var(--heat)}svg .right{fill:var(--rule)}svg .gap{fill:none;stroke:var(--rule)}
svg .s0{stroke:var(--c0)}svg .s1{stroke:var(--c1);stroke-dasharray:7 3}svg .s2{stroke:var(--c2);stroke-dasharray:2 3}
svg .s3{stroke:var(--c3);stroke-dasharray:9 3 2 3}svg .s4{stroke:var(--c4);stroke-dasharray:12 4}svg .s5{stroke:var(--c5);stroke-dasharray:4 2}
svg .s6{stroke:var(--c6);stroke-dasharray:1 2}
svg .f0{fill:var(--c0)}svg .f1{fill:var(--c1)}svg .f2{fill:var(--c2)}svg .f3{fill:var(--c3)}svg .f4{fill:var(--c4)}svg .f5{fill:var(--c5)}svg .f6{fill:var(--c6)}
";

/// A point of a line with its band: x, mean, lowest, highest.
pub type Point = [f64; 4];

/// A coordinate system with its lines.
pub struct Panel {
    /// What is drawn, with its unit.
    pub title: String,
    /// Name of the x axis.
    pub x_label: String,
    /// Labels on the x axis.
    pub x_ticks: Vec<(f64, String)>,
    /// Lowest and highest y.
    pub y_range: (f64, f64),
    /// Whether y is on a logarithmic scale.
    pub y_log: bool,
    /// Lines, each with the number of its style.
    pub lines: Vec<(usize, Vec<Point>)>,
}

/// A figure of panels in two columns under a legend.
pub fn panels(legend: &[String], panels: &[Panel]) -> Markup {
    let (key, key_height) = key(legend);
    let height = key_height + panels.len().div_ceil(2) as f64 * PITCH.1;
    figure(
        height,
        html! {
            (key)
            @for (index, panel) in panels.iter().enumerate() {
                g transform=(format!("translate({} {})", LEFT + (index % 2) as f64 * PITCH.0, key_height + TOP + (index / 2) as f64 * PITCH.1)) {
                    (panel.draw(index))
                }
            }
        },
    )
}

/// The frame of a figure.
pub fn figure(height: f64, content: Markup) -> Markup {
    html! { svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" { (content) } }
}

/// A figure as a file of its own.
pub fn standalone(figure: &Markup) -> String {
    let style = format!("<style>{STYLE}</style><rect width=\"100%\" height=\"100%\" style=\"fill:var(--paper)\"/>");
    let (head, rest) = figure.0.split_once('>').expect("an svg element");
    format!("{head}>{style}{rest}\n")
}

/// Samples of the lines with their names, and the height that they take.
fn key(names: &[String]) -> (Markup, f64) {
    let (mut x, mut y) = (LEFT, 16.0);
    let mut places = Vec::new();
    for name in names {
        let width = 58.0 + 6.6 * name.chars().count() as f64;
        if x + width > WIDTH {
            (x, y) = (LEFT, y + 20.0);
        }
        places.push((x, y));
        x += width;
    }
    let markup = html! {
        @for (index, (name, (x, y))) in names.iter().zip(places).enumerate() {
            line class=(format!("line s{}", index % STYLES)) x1=(x) x2=(x + 34.0) y1=(y - 4.0) y2=(y - 4.0) {}
            text x=(x + 40.0) y=(y) { (name) }
        }
    };
    (markup, y + 10.0)
}

impl Panel {
    fn draw(&self, index: usize) -> Markup {
        let (width, height) = PANEL;
        let clip = format!("clip{}-{index}", self.id());
        html! {
            clipPath id=(clip) { rect width=(width) height=(height) {} }
            text.title x="0" y="-12" { (self.title) }
            @for tick in self.y_ticks() {
                line.rule x1="0" x2=(width) y1=(fine(self.y(tick))) y2=(fine(self.y(tick))) {}
                text.muted.small.end x="-7" y=(fine(self.y(tick) + 4.0)) { (number(tick)) }
            }
            @for (x, label) in &self.x_ticks {
                text.muted.small.mid x=(fine(self.x(*x))) y=(height + 16.0) { (label) }
            }
            text.muted.small.mid x=(width / 2.0) y=(height + 33.0) { (self.x_label) }
            rect.frame width=(width) height=(height) {}
            g clip-path=(format!("url(#{clip})")) {
                @for (style, points) in &self.lines { path class=(format!("band f{style}")) d=(self.band(points)) {} }
                @for (style, points) in &self.lines { path class=(format!("line s{style}")) d=(self.line(points)) {} }
                @for (style, points) in &self.lines {
                    @for [x, mean, ..] in points.iter().filter(|point| point[1].is_finite()) {
                        circle class=(format!("f{style}")) r="2.4" cx=(fine(self.x(*x))) cy=(fine(self.y(*mean))) {}
                    }
                }
            }
        }
    }

    /// A name for the clip path: figures of one page must not share it.
    fn id(&self) -> String {
        let text = format!("{}{:?}{:?}", self.title, self.y_range, self.lines);
        models::artefact::sha256(text.as_bytes())[..8].to_owned()
    }

    fn x(&self, x: f64) -> f64 {
        let xs = || self.x_ticks.iter().map(|(x, _)| *x);
        let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(f64::MIN, f64::max));
        let span = if high > low { high - low } else { 1.0 };
        (0.03 + 0.94 * (x - low) / span) * PANEL.0
    }

    fn y(&self, y: f64) -> f64 {
        let scale = |y: f64| if self.y_log { y.max(1e-12).log10() } else { y };
        let (low, high) = (scale(self.y_range.0), scale(self.y_range.1));
        (1.0 - (scale(y) - low) / (high - low)) * PANEL.1
    }

    fn y_ticks(&self) -> Vec<f64> {
        let (low, high) = self.y_range;
        if !self.y_log {
            let step = step((high - low) / 5.0);
            let first = (low / step - 1e-6).ceil() as i64;
            let ticks = (first..).map(|n| n as f64 * step);
            return ticks.take_while(|tick| *tick <= high + step * 1e-6).collect();
        }
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let within = |tick: &f64| (low * 0.999..=high * 1.001).contains(tick);
        let every = (last - first) / 6 + 1;
        let tens = (first..=last)
            .filter(|n| n.rem_euclid(every) == 0)
            .map(|n| 10f64.powi(n));
        let factors: &[f64] = if high / low < 500.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        tens.flat_map(|ten| factors.iter().map(move |factor| ten * factor))
            .filter(within)
            .collect()
    }

    /// The mean, with gaps where it is no number.
    fn line(&self, points: &[Point]) -> String {
        let mut path = String::new();
        let mut pen = 'M';
        for [x, mean, ..] in points {
            if mean.is_finite() {
                path += &format!("{pen}{} {}", fine(self.x(*x)), fine(self.y(*mean)));
            }
            pen = if mean.is_finite() { 'L' } else { 'M' };
        }
        path
    }

    fn band(&self, points: &[Point]) -> String {
        let finite: Vec<_> = points
            .iter()
            .filter(|point| point.iter().all(|value| value.is_finite()))
            .collect();
        let low = finite.iter().map(|point| (point[0], point[2]));
        let high = finite.iter().rev().map(|point| (point[0], point[3]));
        let corners = low
            .chain(high)
            .map(|(x, y)| format!("{} {}", fine(self.x(x)), fine(self.y(y))));
        let corners: Vec<_> = corners.collect();
        if corners.is_empty() {
            String::new()
        } else {
            format!("M{}Z", corners.join("L"))
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn step(least: f64) -> f64 {
    let ten = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * ten)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(ten)
}

fn number(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e5).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A tenth of a unit is finer than any screen.
fn fine(value: f64) -> String {
    format!("{value:.1}")
}
