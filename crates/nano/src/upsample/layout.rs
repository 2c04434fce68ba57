//! Where the objects of a scene stand to each other.

use super::{Object, Scene};

/// A column and a row of the three by three places, from the top left.
pub(super) type Cell = (i32, i32);

const CENTRE: Cell = (1, 1);

/// How objects come to their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// Each has its own, said or to be chosen.
    Places,
    /// A relation or a rule gives them these.
    Given(Vec<Cell>),
    /// One is inside or on top of the other; both have the sizes that this takes.
    Together,
}

/// The cells of the first object and of the second, where the relation is one of sides.
pub(super) fn sides(relation: &str) -> Option<[Cell; 2]> {
    match relation {
        "left of" => Some([(0, 1), (2, 1)]),
        "right of" => Some([(2, 1), (0, 1)]),
        "above" => Some([(1, 0), (1, 2)]),
        "below" => Some([(1, 2), (1, 0)]),
        _ => None,
    }
}

/// `top left` is (0, 0), `center` is (1, 1).
pub(super) fn cell_of(place: &str) -> Cell {
    let says = |word| place.split(' ').any(|part| part == word);
    let along = |near, far| 1 - i32::from(says(near)) + i32::from(says(far));
    (along("left", "right"), along("top", "bottom"))
}

impl Layout {
    /// Of what was said; `None` for what the model was not taught to place.
    pub(super) fn of(scene: &Scene) -> Option<Self> {
        let objects = scene.objects.as_slice();
        let placed = objects.iter().any(|object| object.place.is_some());
        let counted = objects.iter().any(|object| object.count.is_some());
        match (scene.relation.as_deref(), objects) {
            (None, [alike]) if counted => (!placed).then(|| Self::Given(in_a_row(alike))),
            (None, _) => (!counted).then_some(Self::Places),
            (Some("inside" | "on top of"), [_, _]) => (!counted).then_some(Self::Together),
            // A place beside a relation may contradict it.
            _ if placed || counted => None,
            (Some("between"), [_, _, _]) => Some(Self::Given(vec![CENTRE, (0, 1), (2, 1)])),
            (Some(relation), [_, _]) => sides(relation).map(|cells| Self::Given(cells.to_vec())),
            _ => None,
        }
    }

    /// Each object's cell; the centre where none is chosen yet.
    pub(super) fn cells(&self, objects: &[Object]) -> Vec<Cell> {
        if let Self::Given(cells) = self {
            return cells.clone();
        }
        let places = objects.iter().map(|object| object.place.as_deref());
        places.map(|place| place.map_or(CENTRE, cell_of)).collect()
    }
}

/// Several of a kind stand side by side, four of them in the corners.
fn in_a_row(alike: &Object) -> Vec<Cell> {
    match alike.how_many() {
        2 => vec![(0, 1), (2, 1)],
        3 => vec![(0, 1), CENTRE, (2, 1)],
        _ => vec![(0, 0), (2, 0), (0, 2), (2, 2)],
    }
}
