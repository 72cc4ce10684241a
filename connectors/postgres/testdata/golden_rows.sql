INSERT INTO g.num(si,i,bi,r,d,n5_2,n5,n,nn,mo,o,b,dpos,dmon,dnest) VALUES
 (-32768, 2147483647, -9223372036854775808, 3.14, 2.718281828459045, 123.45, 12345, 123456789012345678901234567890.123456789, 1.5, 1234.56, 4294967295, true, 5, 9.99, -9.5),
 (NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, -0.0001, NULL, NULL, NULL, NULL, NULL, NULL),
 (1, 1, 1, 'NaN', 'Infinity', 0, -7, -0.00, 0, -0.01, 0, false, 1, 0, 0),
 (1, 1, 1, '-Infinity', '-Infinity', -999.99, 99999, 1e20, 0, -1234567.89, 0, false, 1, 0, 0),
 (1, 1, 1, 1e-30, 1e300, 1, 1, 'NaN', 0, 0, 0, false, 1, 0, 0);
INSERT INTO g.txt VALUES
 (1, 'ab', 'héllo', 'text', 'tn', 'vn', '\xdeadbeef', 'CiText', 'nm', '{"a" : 1, "a":2}', '{"b": [1, 2, {"c": null}], "a": 1.50}', NULL, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'happy, very', 'Top.Sci', 'a=>1, "b c"=>NULL, d=>"x\"y"', 'fat:2 cat:3A', 'fat & rat', 'x', 'abcde', '10.1.0.0/16', '192.168.1.5/24', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '$.a[*]'),
 (2, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (3, '', '', E'line1\nline2\t\\x', '日本', '', '\x', '', '', '[]', '[]', NULL, '00000000-0000-0000-0000-000000000000', 'sad', '', '', '', '', '', '', '::1/128', '::1', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', '$');
INSERT INTO g.tim VALUES
 (1, '2024-02-29', '12:34:56.789012', '12:34:56', '12:34:56.789', '12:34:56.7890', '00:00:00.000001', '12:34:56.789012+02', '01:02:03.5-07:30', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.7891', '1969-12-31 23:59:59.999999', '2024-02-29 12:34:56.789012+02', '2024-02-29 12:34:56+00', '2024-02-29 12:34:56.5-05', '1 year 2 mons 3 days 04:05:06.789', '-1 day -00:00:01', '3 years -1 month'),
 (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (3, '1900-01-01', '00:00:00', '00:00:00', '23:59:59.999', '23:59:59.9999', '23:59:59.999999', '00:00:00+00', '23:59:59.999-15', '0001-01-01 00:00:00', '1600-01-01 00:00:00', '9999-12-31 23:59:59.999', '1970-01-01 00:00:00', '1970-01-01 00:00:00', '0001-01-01 00:00:00+00', '9999-12-31 23:59:59+00', '1969-12-31 23:59:59.999+00', '0', '1 microsecond', '-5 years'),
 (5, '2024-01-01', '24:00:00', '24:00:00', '24:00:00', '24:00:00', '24:00:00', '24:00:00+00', '12:00:00+00', '2024-01-01', '2024-01-01', '2024-01-01', '2024-01-01', '2024-01-01', '2024-07-01 00:00:00 Europe/Prague', '2024-01-01', '2024-01-01', '-1 year -2 mons +3 days -04:05:06', '0.5 seconds', '1 month');
INSERT INTO g.tim(id, ts, tstz, ts3) VALUES (6, 'infinity', 'infinity', 'infinity'), (7, '-infinity', '-infinity', '-infinity');
INSERT INTO g.bits VALUES (1, B'1', B'10', B'10000001', B'10101010101010101', B'101', B'1', B'1100110011', B'111'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, B'000'), (3, B'0', B'01', B'00000000', B'00000000000000001', B'', B'0', B'0000000000', B'010');
INSERT INTO g.geo VALUES (1, '(1.5,-2.5)', '{1,2,3}', '[(0,0),(1,1)]', '(2,2),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,1),2>', '(0,0)'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(1e10,-1e-10)');
INSERT INTO g.rng VALUES (1, '[1,5)', '(1,5]', '[1.5,2.5]', '[2020-01-01 00:00,2020-01-02 00:00)', '[2020-01-01 00:00+00,2020-01-02 00:00+00)', '[2020-01-01,2020-01-05]', '{[1,2],[5,6]}'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 'empty', '(,5)', '[1,)', '(,)', NULL, '[2020-01-01,)', '{}');
INSERT INTO g.arr VALUES
 (1, '{1,2,NULL}', '{1,2}', '{1,9223372036854775807}', '{1.5,NULL}', '{2.5}', '{1.23,NULL,4}', '{1.5,2.25}', '{a,"b c",NULL,"NULL","q\"x","back\\slash"}', '{ab,cd}', '{a,bcd}', '{t,f,NULL}',
  '{2020-01-01,NULL}', '{01:02:03}', '{"2020-01-01 01:02:03.456789"}', '{"2020-01-01 01:02:03.456"}', '{"2020-01-01 01:02:03+02"}', '{01:02:03+02}', '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}', ARRAY['{"a": 1}'::json], ARRAY['{"a": 1}'::jsonb], ARRAY['sad','happy, very']::g.mood[], '{1,2}', ARRAY['\x01'::bytea,'\xff'::bytea], '{10.0.0.1}', ARRAY['[1,2)'::int4range], '{CI}', ARRAY['a=>1'::hstore], '{1}', '{{1,2},{3,4}}', ARRAY['1 day'::interval], ARRAY[1.5::money], '{10.0.0.0/8}', '{08:00:2b:01:02:03}', ARRAY[B'101'], NULL, ARRAY['[2020-01-01,2020-01-02)'::tsrange], ARRAY['(1,2)'::point]),
 (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (3, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL, '{}', '{}');
INSERT INTO g.def(id, tsn, tzn, dan, tsno, u) VALUES (1, '2020-01-01', '2020-01-01 00:00+00', '2020-01-01', '2020-01-01', '11111111-2222-3333-4444-555555555555');
INSERT INTO g.comp_t VALUES (1, ROW(1,'x'), '16/B374D848', '10:20:10,14,15', '18446744073709551615', 'pg_class', '123', '(1,2)');
INSERT INTO g.pk2 VALUES (1, 'k', 'v1'), (2, 'k', 'v2');
INSERT INTO g.nopk VALUES (1, 'x'), (2, NULL);
INSERT INTO g.uq VALUES (1, 'x');
INSERT INTO g.uqi VALUES (1, 'x', 100);
INSERT INTO g.full_t VALUES (1, 'one', 1, '2020-01-01 00:00+00'), (2, 'two', NULL, NULL);
INSERT INTO g.toast VALUES (1, repeat('t',9000), repeat('n',9000), convert_to(repeat('b',9000),'UTF8'), to_jsonb(repeat('j',9000)), (SELECT array_agg(i) FROM generate_series(1,3000) i), (SELECT array_agg('x'||i) FROM generate_series(1,3000) i), 1, hstore('k', repeat('h',9000)), NULL, NULL);
INSERT INTO g."Odd Name" VALUES (1, 'm', 2, 3);
INSERT INTO g.evo VALUES (1, 'a');
