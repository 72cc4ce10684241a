DELETE FROM g.nn;
UPDATE g.upd SET id = id;
