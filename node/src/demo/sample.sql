-- What the demo's database holds at first: a copy in every replica set (country), rows spread by their own key (customer), and
-- rows that live in the replica set of the customer whom they belong to (purchase).

CREATE TABLE country (
    code char(2) PRIMARY KEY,
    name text NOT NULL
) DUPLICATE;

CREATE TABLE customer (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    country char(2) NOT NULL,
    since date NOT NULL
) DISTRIBUTE BY HASH (id);

CREATE TABLE purchase (
    customer_id bigint,
    number integer,
    item text NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (customer_id, number)
) DISTRIBUTE BY HASH (customer_id);

INSERT INTO country VALUES ('CL', 'Chile'), ('DE', 'Germany'), ('IN', 'India'), ('KE', 'Kenya'), ('NZ', 'New Zealand');

INSERT INTO customer VALUES
    (1, 'Amara', 'KE', DATE '2021-03-14'),
    (2, 'Bruno', 'CL', DATE '2022-07-01'),
    (3, 'Chitra', 'IN', DATE '2020-11-30'),
    (4, 'Daniel', 'DE', DATE '2023-01-09'),
    (5, 'Emere', 'NZ', DATE '2019-05-22'),
    (6, 'Farai', 'KE', DATE '2024-02-29'),
    (7, 'Greta', 'DE', DATE '2021-10-05'),
    (8, 'Hemi', 'NZ', DATE '2022-12-24');

INSERT INTO purchase VALUES
    (1, 1, 'kettle', 24.90), (1, 2, 'lamp', 39.50), (2, 1, 'bicycle', 420.00), (3, 1, 'notebook', 3.20), (3, 2, 'pen', 1.75),
    (4, 1, 'atlas', 58.00), (5, 1, 'tent', 199.99), (5, 2, 'stove', 64.00), (6, 1, 'radio', 75.25), (7, 1, 'violin', 890.00),
    (8, 1, 'boots', 145.00), (8, 2, 'map', 9.95);
