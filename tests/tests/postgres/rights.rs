//! What a user needs, who is no superuser.

use super::{campaign, pixels, put};
use outshine_database::{Target, check};
use outshine_tests::servers::or_skip;
use outshine_tests::servers::postgres::Postgres;

/// A database of the server, as `role` sees it.
fn seen_by(server: &Postgres, role: &str, name: &str) -> anyhow::Result<Target> {
    let url = server.url(name).replace("postgres@", &format!("{role}:of-{role}@"));
    Ok(Target::new(&url)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_loads_with_the_rights_that_are_asked_for_and_no_less() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    for role in ["ada", "bea"] {
        let sql = format!("create role {role} login password 'of-{role}'");
        server.query("postgres", &sql)?;
    }
    let it = campaign("it", "s");
    let rows = vec![(1, Some(9.0))];

    // With `create` on the database alone.
    server.create("open")?;
    server.query("open", "grant create on database open to ada")?;
    let ada = seen_by(&server, "ada", "open")?;
    check(&ada).await?;
    put(&ada, &it, &rows, vec![pixels(1, 2, 0.1)]).await?;
    let comment = "select obj_description('outshine'::regnamespace)";
    assert!(server.query("open", comment)?.contains("Catalogues"));

    // With a schema that somebody else has made.
    server.create("made")?;
    let ada = seen_by(&server, "ada", "made")?;
    let lacks = |wrong: outshine_database::DatabaseError, what: &str, mend: &str| {
        let wrong = wrong.to_string();
        assert!(wrong.contains(what) && wrong.contains(mend), "{wrong}");
    };
    lacks(check(&ada).await.unwrap_err(), "make the schema", "grant create on the database");
    server.query("made", "create schema outshine")?;
    for some in ["", "grant usage on schema outshine to ada"] {
        server.query("made", some)?;
        lacks(check(&ada).await.unwrap_err(), "make tables", "grant usage, create on schema");
    }
    server.query("made", "grant create on schema outshine to ada")?;
    server.query("made", "revoke temporary on database made from public")?;
    lacks(check(&ada).await.unwrap_err(), "temporary tables", "grant temporary");
    server.query("made", "grant temporary on database made to ada, bea")?;
    check(&ada).await?;
    put(&ada, &it, &rows, vec![pixels(1, 2, 0.1)]).await?;
    assert_eq!(put(&ada, &it, &rows, vec![pixels(1, 2, 0.1)]).await?.changed, 0);

    // Tables are their owner's, and of whom the owner takes in.
    let bea = seen_by(&server, "bea", "made")?;
    let error = put(&bea, &it, &rows, vec![]).await.unwrap_err();
    lacks(error, "make tables", "grant usage, create on schema");
    server.query("made", "grant usage, create on schema outshine to bea")?;
    lacks(check(&bea).await.unwrap_err(), "change what is in", "owner of campaign, galaxy, gala");
    server.query("made", "grant ada to bea")?;
    check(&bea).await?;
    assert_eq!(put(&bea, &it, &rows, vec![pixels(1, 3, 0.1)]).await?.changed, 1);
    Ok(())
}
