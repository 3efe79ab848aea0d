//! The report as a page of HTML and as Markdown.

use std::fmt::Write;
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::Results;
use super::tables::Table;
use super::{Section, svg};

const STYLE: &str = "
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:900px;margin:0 auto;padding:2.5rem 1.25rem 5rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}h2{margin:3.5rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--rule)}
h2::first-letter{text-transform:uppercase}p.lead{color:var(--muted);margin-top:0}
li{margin:.35rem 0}figure{margin:1.75rem 0}figure svg{width:100%;height:auto;display:block}
figcaption,caption{color:var(--muted);font-size:.875rem;text-align:left;padding:.25rem 0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.875rem}
th,td{padding:.3rem .7rem .3rem 0;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.published td{color:var(--muted)}
summary{cursor:pointer;color:var(--muted);margin:.75rem 0}code{font-size:.9em}nav a{margin-right:1rem}a{color:var(--c0)}
";
const TITLE: &str = "The study";
/// The page; it needs no other file.
pub fn html(results: &Results, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Threeblock: the study" }
                style { (PreEscaped(svg::STYLE)) (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { (TITLE) }
                p.lead { (state(results)) }
                nav { @for section in sections { a href=(format!("#{}", section.name)) { (section.name) } } }
                @for section in sections { (section_html(section)) }
                h2 { "How it was done" }
                p { (how(results)) }
            } }
        }
    };
    page.into_string()
}

fn section_html(section: &Section) -> Markup {
    html! {
        h2 id=(section.name) { (section.name.replace('-', " ")) }
        ul { @for sentence in &section.reading { li { (sentence) } } }
        @for (index, table) in section.tables.iter().enumerate() {
            @if index == 0 { (table_html(table)) } @else { details { summary { (table.caption) } (table_html(table)) } }
        }
        @for figure in &section.figures {
            figure { (figure.svg) figcaption { (figure.caption) } }
        }
    }
}

fn table_html(table: &Table) -> Markup {
    html! {
        div.wide { table {
            caption { (table.caption) }
            thead { tr { @for name in &table.head { th { (name) } } } }
            tbody { @for row in &table.rows {
                tr.published[row[0].starts_with("published")] { @for cell in row { td { (cell) } } }
            } }
        } }
    }
}

/// The same as Markdown, with the figures in files.
pub fn markdown(results: &Results, sections: &[Section]) -> String {
    let mut text = format!("# {TITLE}\n\n{}\n", state(results));
    for section in sections {
        text += &format!("\n## {}\n\n", section.name.replace('-', " "));
        for sentence in &section.reading {
            writeln!(text, "- {sentence}").expect("a String takes all");
        }
        for table in &section.tables {
            text += &format!("\n{}\n\n{}", table.caption, table_markdown(table));
        }
        for figure in &section.figures {
            text += &format!(
                "\n![{}](figures/{}.svg)\n\n{}\n",
                figure.name, figure.name, figure.caption
            );
        }
    }
    text + &format!("\n## How it was done\n\n{}\n", how(results))
}

/// The first experiment's curves and table, for another document, from which the path `figures` leads to their folder.
pub fn summary(results: &Results, sections: &[Section], figures: &Path) -> String {
    let Some(section) = sections.first() else {
        return String::new();
    };
    let mut text = format!("{}\n{}\n", table_markdown(&section.tables[0]), state(results));
    if let Some(figure) = section.figures.first() {
        text += &format!(
            "\n![{}]({}/{}.svg)\n\n{}\n",
            figure.name,
            figures.display(),
            figure.name,
            figure.caption
        );
    }
    text
}

/// How the figures came about.
fn how(results: &Results) -> String {
    let tested = if results.held_out {
        "held-out digits are taken after the epoch."
    } else {
        "test digits are taken after the epoch. Nothing was chosen by them."
    };
    let spread = match results.seeds() {
        0 | 1 => "One seed has no spread, so that no difference has an interval.".to_owned(),
        n => format!(
            "A difference counts as more than the spread where the 95 % interval of its paired mean leaves out 0; with \
             {n} seeds that interval is wide, and among many comparisons one in twenty does so by chance."
        ),
    };
    format!(
        "Losses and accuracies on the training digits are those of the steps, each before its update; those on the \
         {tested} {spread} The published figures are of one run each; their optimizer and number of epochs are not known."
    )
}

/// A table in Markdown.
pub fn table_markdown(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---|{}\n", "---:|".repeat(table.head.len() - 1));
    [line(&table.head), rule]
        .into_iter()
        .chain(table.rows.iter().map(|row| line(row)))
        .collect()
}

/// How many runs are finished, and what is complete where not all are.
pub fn state(results: &Results) -> String {
    let finished = results.runs.len();
    if results.missing == 0 {
        return format!("{finished} runs.");
    }
    let all = finished + results.missing;
    let mut state = format!("The study is not finished: {finished} of {all} runs are there.");
    let complete = results.experiments.iter().filter(|experiment| experiment.complete);
    let complete: Vec<String> = complete.map(|experiment| experiment.name.replace('-', " ")).collect();
    if !complete.is_empty() {
        state += &format!(" Complete: {}.", complete.join(", "));
    }
    state
}
