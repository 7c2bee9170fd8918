//! Reading Keap where it shows less, later or otherwise than it should.

mod ahead;
mod ids;
mod poison;
mod still;

use crate::world::World;

/// The filters of all list calls so far, decoded.
fn filters(world: &World) -> Vec<String> {
    let lists = world.keap.ledger().into_iter().filter(|call| call.kind == "list");
    lists
        .filter_map(|call| {
            url::form_urlencoded::parse(call.query.as_bytes())
                .find(|(name, _)| name == "filter")
                .map(|(_, filter)| filter.into_owned())
        })
        .collect()
}

/// No filter has two clauses on one field.
fn assert_one_clause_a_field(world: &World) {
    for filter in filters(world) {
        let mut fields: Vec<&str> =
            filter.split(';').map(|clause| clause.split(['=', '<', '>']).next().unwrap()).collect();
        let all = fields.len();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), all, "{filter}");
    }
}

fn has_name(world: &World, id: i64, name: &str) -> bool {
    world.user(id).name.is_some_and(|known| known.split(' ').any(|part| part == name))
}
