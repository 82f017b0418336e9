"""Run by alembic, over the connection that `engine` opened."""

from alembic import context

from xds_server.catalog.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
