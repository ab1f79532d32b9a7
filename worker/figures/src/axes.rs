//! Two scales over an area of the canvas: where values lie, lines that end at the
//! edges, ticks and names.

use crate::FigureError;
use crate::canvas::{Anchor, Area, Root, fill, line, text_style, write, write_upwards};
use crate::colours::INK;
use crate::scale::Scale;
use plotters::style::RGBColor;

/// Lengths of a dash and of a gap, in units of the canvas.
const DASHED: (f64, f64) = (18.0, 12.0);
const DOTTED: (f64, f64) = (5.0, 9.0);
/// Dashes and gaps between two points of a line, at most.
const MOST_PIECES: usize = 800;
/// Length of a tick, and from it to the name of an upright axis.
const TICK: i32 = 10;
const SPACE: i32 = 6;

/// A point of the canvas, in units, not rounded.
pub type Point = (f64, f64);

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
}

impl Dash {
    /// All, in the order in which curves take them.
    pub const ALL: [Self; 3] = [Self::Solid, Self::Dashed, Self::Dotted];
}

/// What a line is drawn with; its width in units of the canvas.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    pub colour: RGBColor,
    pub dash: Dash,
    pub width: u32,
}

impl Pen {
    pub fn solid(colour: RGBColor, width: u32) -> Self {
        Self { colour, dash: Dash::Solid, width }
    }
}

/// A side of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Lower,
    Upper,
    Left,
    Right,
}

/// How a side is marked.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// Of [`Scale::ticks`].
    pub most: usize,
    /// Size of the names.
    pub em: i32,
    /// Whether ticks point into the area.
    pub inward: bool,
    /// Whether ticks have names.
    pub named: bool,
    /// The part of the side at either end where they have none.
    pub clear: f64,
}

impl Marks {
    pub fn outward(most: usize, em: i32) -> Self {
        Self { most, em, inward: false, named: true, clear: 0.0 }
    }

    pub fn inward(most: usize, em: i32) -> Self {
        Self { inward: true, ..Self::outward(most, em) }
    }
}

/// Two scales over an area.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    pub area: Area,
    pub x: Scale,
    pub y: Scale,
}

impl Axes {
    /// The point of two values, where it has a finite one.
    pub fn at(&self, (x, y): (f64, f64)) -> Option<Point> {
        let place = (
            f64::from(self.area.left) + self.x.place(x) * f64::from(self.area.width),
            f64::from(self.area.bottom()) - self.y.place(y) * f64::from(self.area.height),
        );
        (place.0.is_finite() && place.1.is_finite()).then_some(place)
    }

    /// As [`Axes::at`], if it lies in the area.
    pub fn inside(&self, value: (f64, f64)) -> Option<Point> {
        self.at(value).filter(|&(x, y)| {
            x >= f64::from(self.area.left)
                && x <= f64::from(self.area.right())
                && y >= f64::from(self.area.top)
                && y <= f64::from(self.area.bottom())
        })
    }

    /// As [`Axes::at`], at the edge for what lies beyond.
    pub fn held(&self, (x, y): (f64, f64)) -> Option<Point> {
        self.at((self.x.nearest(x), self.y.nearest(y)))
    }

    /// The part of a line that lies in the area (Liang & Barsky 1984).
    fn clip(&self, a: Point, b: Point) -> Option<(Point, Point)> {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut start, mut end) = (0.0f64, 1.0f64);
        for (p, q) in [
            (-dx, a.0 - f64::from(self.area.left)),
            (dx, f64::from(self.area.right()) - a.0),
            (-dy, a.1 - f64::from(self.area.top)),
            (dy, f64::from(self.area.bottom()) - a.1),
        ] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                start = start.max(q / p);
            } else {
                end = end.min(q / p);
            }
        }
        // The ends themselves, not what rounding makes of them.
        let at = |t: f64| if t == 1.0 { b } else { (a.0 + t * dx, a.1 + t * dy) };
        (start < end).then(|| (at(start), at(end)))
    }

    /// The parts of a curve that lie in the area; it breaks where a point has no
    /// place.
    fn parts(&self, points: impl IntoIterator<Item = (f64, f64)>) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = Vec::new();
        let mut last = None;
        for point in points {
            let next = self.at(point);
            if let (Some(a), Some(b)) = (last, next)
                && let Some((from, to)) = self.clip(a, b)
            {
                match parts.last_mut().filter(|part| from == a && part.last() == Some(&a)) {
                    Some(part) => part.push(to),
                    None => parts.push(vec![from, to]),
                }
            }
            last = next;
        }
        parts
    }

    /// Draws a curve; what lies outside is left out.
    pub fn curve(
        &self,
        root: &Root<'_>,
        points: impl IntoIterator<Item = (f64, f64)>,
        pen: Pen,
    ) -> Result<(), FigureError> {
        self.parts(points).iter().try_for_each(|part| stroke(root, part, pen))
    }

    /// The part of a polygon that lies in the area (Sutherland & Hodgman 1974).
    fn within(&self, mut corners: Vec<Point>) -> Vec<Point> {
        let edge = f64::from;
        let Area { left, top, .. } = self.area;
        let (right, bottom) = (self.area.right(), self.area.bottom());
        // How far a point lies inside of each edge.
        let depths: [&dyn Fn(Point) -> f64; 4] =
            [&|p| p.0 - edge(left), &|p| edge(right) - p.0, &|p| p.1 - edge(top), &|p| {
                edge(bottom) - p.1
            }];
        for depth in depths {
            let before = corners.iter().cycle().skip(corners.len().saturating_sub(1));
            let mut kept = Vec::with_capacity(corners.len() + 4);
            for (&a, &b) in before.zip(&corners) {
                let (from, to) = (depth(a), depth(b));
                if (from < 0.0) != (to < 0.0) {
                    let part = from / (from - to);
                    kept.push((a.0 + part * (b.0 - a.0), a.1 + part * (b.1 - a.1)));
                }
                if to >= 0.0 {
                    kept.push(b);
                }
            }
            corners = kept;
        }
        corners
    }

    /// Fills what `edge` goes around, up to the edges of the area.
    pub fn fill(
        &self,
        root: &Root<'_>,
        edge: impl IntoIterator<Item = (f64, f64)>,
        colour: RGBColor,
        alpha: f64,
    ) -> Result<(), FigureError> {
        // What has no place on a logarithmic scale lies below its start.
        let corners = edge.into_iter().filter_map(|p| self.at(p).or_else(|| self.held(p)));
        let corners = self.within(corners.collect()).into_iter().map(rounded);
        let corners: Vec<(i32, i32)> = corners.collect();
        if corners.len() < 3 { Ok(()) } else { fill(root, &corners, colour, alpha) }
    }

    /// Fills a band; points: place across, lower and upper edge, left out where one
    /// is not finite.
    pub fn band(
        &self,
        root: &Root<'_>,
        points: impl IntoIterator<Item = (f64, f64, f64)>,
        colour: RGBColor,
        alpha: f64,
    ) -> Result<(), FigureError> {
        let finite = |p: &(f64, f64, f64)| [p.0, p.1, p.2].iter().all(|v| v.is_finite());
        let known: Vec<(f64, f64, f64)> = points.into_iter().filter(finite).collect();
        if known.len() < 2 {
            return Ok(());
        }
        let upper = known.iter().map(|p| (p.0, p.2));
        let lower = known.iter().rev().map(|p| (p.0, p.1));
        self.fill(root, upper.chain(lower), colour, alpha)
    }

    /// The outline of a histogram over equal bins that fill the lower axis.
    pub fn steps(&self, heights: &[f64]) -> Vec<(f64, f64)> {
        let width = (self.x.high - self.x.low) / heights.len() as f64;
        let edge = |i: usize| self.x.low + width * i as f64;
        let steps = heights.iter().enumerate();
        steps.flat_map(|(i, &h)| [(edge(i), h), (edge(i + 1), h)]).collect()
    }

    /// Draws ticks of the lower axis and their names.
    pub fn lower(&self, root: &Root<'_>, marks: &Marks) -> Result<(), FigureError> {
        self::marks(root, &self.area, Side::Lower, &self.x, marks)
    }

    /// Draws ticks of the left axis and their names.
    pub fn left(&self, root: &Root<'_>, marks: &Marks) -> Result<(), FigureError> {
        self::marks(root, &self.area, Side::Left, &self.y, marks)
    }
}

/// The unit of the canvas that is nearest.
pub fn rounded((x, y): Point) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

/// Draws a line through `points`, in the dashes of its pen from the first on.
pub fn stroke(root: &Root<'_>, points: &[Point], pen: Pen) -> Result<(), FigureError> {
    let draw = |points: &[Point]| {
        let units: Vec<(i32, i32)> = points.iter().copied().map(rounded).collect();
        if units.len() > 1 { line(root, &units, pen.colour, pen.width) } else { Ok(()) }
    };
    let lengths = match pen.dash {
        Dash::Solid => return draw(points),
        Dash::Dashed => DASHED,
        Dash::Dotted => DOTTED,
    };
    dashes(points, lengths).iter().try_for_each(|piece| draw(piece))
}

/// The dashes of a line, each with the points of the line that it passes.
fn dashes(points: &[Point], (on, off): (f64, f64)) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    // Whether this is a dash, and how much is left of it or of the gap.
    let (mut is_dash, mut left) = (true, on);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        for _ in 0..MOST_PIECES {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length < left {
                left -= length;
                break;
            }
            let part = left / length;
            from = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
            piece.push(from);
            if is_dash {
                pieces.push(std::mem::take(&mut piece));
            }
            is_dash = !is_dash;
            left = if is_dash { on } else { off };
        }
        if is_dash {
            piece.push(to);
        }
    }
    if is_dash && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

/// Draws the ticks of a side and their names.
pub fn marks(
    root: &Root<'_>,
    area: &Area,
    side: Side,
    scale: &Scale,
    marks: &Marks,
) -> Result<(), FigureError> {
    let tick = if marks.inward { -TICK } else { TICK };
    let anchor = match side {
        Side::Lower | Side::Upper => Anchor::Middle,
        Side::Left => Anchor::Right,
        Side::Right => Anchor::Left,
    };
    let style = text_style(marks.em, INK, anchor);
    for (mark, name) in scale.ticks(marks.most) {
        let place = scale.place(mark);
        let x = (f64::from(area.left) + place * f64::from(area.width)).round() as i32;
        let y = (f64::from(area.bottom()) - place * f64::from(area.height)).round() as i32;
        // The point at so many units from the side.
        let out = |by: i32| match side {
            Side::Lower => (x, area.bottom() + by),
            Side::Upper => (x, area.top - by),
            Side::Left => (area.left - by, y),
            Side::Right => (area.right() + by, y),
        };
        line(root, &[out(0), out(tick)], INK, 2)?;
        if marks.named && (marks.clear..=1.0 - marks.clear).contains(&snapped(place)) {
            let space = if anchor == Anchor::Middle { marks.em * 3 / 4 } else { SPACE };
            write(root, &name, out(TICK + space), &style)?;
        }
    }
    Ok(())
}

/// A tick that rounding has put beyond an end lies at the end.
fn snapped(place: f64) -> f64 {
    place.clamp(0.0, 1.0)
}

/// Writes the name of a side, with its middle `out` units from the side.
pub fn name(
    root: &Root<'_>,
    area: &Area,
    side: Side,
    text: &str,
    (em, out): (i32, i32),
) -> Result<(), FigureError> {
    let (middle, centre) = (area.left + area.width / 2, area.top + area.height / 2);
    match side {
        Side::Lower => {
            write(root, text, (middle, area.bottom() + out), &text_style(em, INK, Anchor::Middle))
        }
        Side::Upper => {
            write(root, text, (middle, area.top - out), &text_style(em, INK, Anchor::Middle))
        }
        Side::Left => write_upwards(root, text, (area.left - out, centre), em),
        Side::Right => write_upwards(root, text, (area.right() + out, centre), em),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(width: i32, height: i32) -> Axes {
        let area = Area { left: 0, top: 0, width, height };
        Axes { area, x: Scale::linear(0.0, 1.0), y: Scale::linear(0.0, 1.0) }
    }

    #[test]
    fn lines_end_at_the_edges() {
        let axes = axes(100, 100);
        assert_eq!(axes.clip((-50.0, 50.0), (50.0, 50.0)), Some(((0.0, 50.0), (50.0, 50.0))));
        assert_eq!(axes.clip((-10.0, -10.0), (110.0, 110.0)), Some(((0.0, 0.0), (100.0, 100.0))));
        assert_eq!(axes.clip((10.0, 120.0), (90.0, 120.0)), None);
        assert_eq!(axes.clip((-60.0, 80.0), (20.0, 180.0)), None, "past a corner");
    }

    /// A curve that leaves the area ends at its edge and begins there again; it does
    /// not run along it.
    #[test]
    fn curves_break_where_they_leave_and_where_they_are_unknown() {
        let curve = [(0.0, 0.5), (0.2, 0.5), (0.4, 1.5), (0.6, 1.5), (0.8, 0.5), (1.0, 0.5)];
        let parts = axes(100, 100).parts(curve);
        let near = |a: Point, b: Point| (a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-9;
        let expected = [
            vec![(0.0, 50.0), (20.0, 50.0), (30.0, 0.0)],
            vec![(70.0, 0.0), (80.0, 50.0), (100.0, 50.0)],
        ];
        assert_eq!(parts.len(), 2, "{parts:?}");
        for (part, expected) in parts.iter().zip(&expected) {
            assert_eq!(part.len(), expected.len(), "{part:?}");
            assert!(part.iter().zip(expected).all(|(&a, &b)| near(a, b)), "{part:?}");
        }
        let unknown = [(0.0, 0.5), (0.2, 0.5), (0.4, f64::NAN), (0.6, 0.5), (0.8, 0.5)];
        let lengths: Vec<usize> = axes(100, 100).parts(unknown).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2]);
    }

    /// A triangle whose tip is cut off, one that lies outside, and one around it all.
    #[test]
    fn areas_end_at_the_edges() {
        let axes = axes(100, 100);
        let cut = axes.within(vec![(0.0, 50.0), (50.0, -50.0), (100.0, 50.0)]);
        assert_eq!(cut, [(0.0, 50.0), (25.0, 0.0), (75.0, 0.0), (100.0, 50.0)]);
        assert!(axes.within(vec![(110.0, 0.0), (120.0, 50.0), (110.0, 90.0)]).is_empty());
        let around = axes.within(vec![(-900.0, -100.0), (1000.0, -100.0), (50.0, 900.0)]);
        for corner in [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)] {
            assert!(around.contains(&corner), "{around:?}");
        }
        assert!(axes.within(Vec::new()).is_empty());
    }

    #[test]
    fn points_beyond_are_held_at_the_edge_or_left_out() {
        let axes = axes(200, 100);
        assert_eq!(axes.at((0.5, 2.0)), Some((100.0, -100.0)));
        assert_eq!((axes.inside((0.5, 2.0)), axes.held((0.5, 2.0))), (None, Some((100.0, 0.0))));
        assert_eq!(axes.inside((1.0, 1.0)), Some((200.0, 0.0)));
        assert_eq!((axes.at((f64::NAN, 0.5)), axes.held((f64::NAN, 0.5))), (None, None));
    }

    #[test]
    fn dashes_go_around_corners_and_cover_their_share() {
        // Of 60 units: dash, gap, a dash around the corner, gap, a dash cut short.
        let pieces = dashes(&[(0.0, 0.0), (30.0, 0.0), (30.0, 30.0)], (16.0, 10.0));
        let expected = [
            vec![(0.0, 0.0), (16.0, 0.0)],
            vec![(26.0, 0.0), (30.0, 0.0), (30.0, 12.0)],
            vec![(30.0, 22.0), (30.0, 30.0)],
        ];
        assert_eq!(pieces, expected);
        assert!(dashes(&[(3.0, 3.0)], (5.0, 9.0)).is_empty());
        assert!(dashes(&[], (5.0, 9.0)).is_empty());
    }

    #[test]
    fn histograms_fill_the_axis() {
        let steps = axes(10, 10).steps(&[0.25, 1.0]);
        assert_eq!(steps, [(0.0, 0.25), (0.5, 0.25), (0.5, 1.0), (1.0, 1.0)]);
    }
}
