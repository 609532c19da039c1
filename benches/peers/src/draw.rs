//! Curves of how figures grow, as pictures.

use std::error::Error;
use std::ops::Range;

use plotters::prelude::*;

/// Figures of one file, whose lines are `figure,set,size,side` and five values.
pub struct Album {
    /// What the pictures' names begin with.
    pub prefix: &'static str,
    /// Figures: the name, what the horizontal axis counts, and the title.
    pub figures: &'static [(&'static str, &'static str, &'static str)],
    /// What the panels show.
    pub panels: [&'static str; 5],
    /// Which of two words of a curve its colour stands for, where there are several sets.
    pub colour: Colour,
}

/// What the colour of a curve stands for; the rest is said by dashes.
#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "a program that draws has one of them")]
pub enum Colour {
    /// Its set; curves of a peer are dashed.
    Set,
    /// Its side; curves of any set but the first are dashed.
    Side,
}

const SIZE: (u32, u32) = (960, 620);
const PAPER: RGBColor = RGBColor(252, 252, 250);
const INK: RGBColor = RGBColor(50, 54, 62);
const GRID: RGBColor = RGBColor(225, 226, 228);
/// Told apart by most who see colours differently (M. Okabe, K. Ito, 2002).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(170, 90, 140)];

/// A curve: its set, its side, and the points' sizes and values.
struct Curve {
    set: String,
    side: String,
    points: Vec<(f64, [f64; 5])>,
}

/// Draws `PREFIX-FIGURE.svg` into `folder` for each figure of the file.
pub fn draw(album: &Album, csv: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    for (figure, of, title) in album.figures {
        let mut curves: Vec<Curve> = Vec::new();
        for line in csv.lines().skip(1) {
            let [of, set, size, side, values @ ..] = &line.split(',').collect::<Vec<_>>()[..] else {
                return Err(format!("no point: {line}").into());
            };
            if of != figure {
                continue;
            }
            let values: Vec<f64> = values.iter().map(|value| value.parse()).collect::<Result<_, _>>()?;
            let values = values.try_into().map_err(|_| format!("not five values: {line}"))?;
            let point = (size.parse()?, values);
            match curves.iter_mut().find(|curve| curve.set == *set && curve.side == *side) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { set: (*set).into(), side: (*side).into(), points: vec![point] }),
            }
        }
        if !curves.is_empty() {
            let file = format!("{folder}/{}-{figure}.svg", album.prefix);
            figure_of(album, &curves, of, title, &file)?;
        }
    }
    Ok(())
}

fn figure_of(
    album: &Album, curves: &[Curve], of: &str, title: &str, file: &str,
) -> Result<(), Box<dyn Error + 'static>> {
    let style = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&PAPER)?;
    let root = root.margin(10, 4, 4, 4).titled(title, style(18))?;
    let panels = root.split_evenly((2, 3));
    let sets: Vec<&str> = distinct(curves.iter().map(|curve| curve.set.as_str()));
    let sides: Vec<&str> = distinct(curves.iter().map(|curve| curve.side.as_str()));
    let by_set = sets.len() > 1 && album.colour == Colour::Set;
    let look = |curve: &Curve| {
        let (names, name) = if by_set { (&sets, &curve.set) } else { (&sides, &curve.side) };
        let at = names.iter().position(|other| other == name).unwrap_or(0);
        let dashed = match album.colour {
            Colour::Set => by_set && curve.side != "fastpath",
            Colour::Side => sets.first().is_some_and(|first| *first != curve.set),
        };
        (COLOURS[at % COLOURS.len()], dashed)
    };
    let sizes = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0));
    let across = around(sizes, 1.2).ok_or("no points")?;
    for (at, (panel, title)) in panels.iter().zip(album.panels).enumerate() {
        let values = curves.iter().flat_map(|curve| curve.points.iter().map(move |point| point.1[at]));
        // Whole decades, so that there are numbers at the axis.
        let Some(up) = around(values, 1.0) else { continue };
        let up = 10f64.powf(up.start.log10().floor())..10f64.powf(up.end.log10().ceil());
        let mut chart = ChartBuilder::on(panel)
            .margin(8)
            .caption(title, style(14))
            .x_label_area_size(38)
            .y_label_area_size(46)
            .build_cartesian_2d(across.clone().log_scale(), up.log_scale())?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(style(11))
            .x_desc(of)
            .axis_desc_style(style(12))
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .x_labels(5)
            .y_labels(6)
            .draw()?;
        for curve in curves {
            let (colour, dashed) = look(curve);
            let points = curve.points.iter().map(|point| (point.0, point.1[at]));
            let points: Vec<(f64, f64)> = points.filter(|point| point.1.is_finite()).collect();
            let line = colour.stroke_width(2);
            if dashed {
                chart.draw_series(DashedLineSeries::new(points.iter().copied(), 5, 4, line))?;
            } else {
                chart.draw_series(LineSeries::new(points.iter().copied(), line))?;
            }
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
    }
    // The sixth panel says which is which.
    let legend = &panels[5];
    for (n, curve) in curves.iter().enumerate() {
        let (colour, dashed) = look(curve);
        let y = 60 + 24 * n as i32;
        let line = |from: i32, to: i32| PathElement::new([(from, y), (to, y)], colour.stroke_width(3));
        if dashed {
            for dash in 0..3 {
                legend.draw(&line(40 + 12 * dash, 47 + 12 * dash))?;
            }
        } else {
            legend.draw(&line(40, 72))?;
        }
        let name = if sets.len() > 1 { format!("{}, {}", curve.set, curve.side) } else { curve.side.clone() };
        legend.draw(&Text::new(name, (84, y - 7), style(14)))?;
    }
    root.present()?;
    Ok(())
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The range of the values, and so many times more at both ends.
fn around(values: impl Iterator<Item = f64>, room: f64) -> Option<Range<f64>> {
    let ends = values.filter(|value| value.is_finite() && *value > 0.0);
    let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(low, high), it| (low.min(it), high.max(it)));
    (low <= high).then(|| low / room..high * room)
}

/// A number with three figures at most.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}K", value / 1e3),
        _ => format!("{value}"),
    }
}
