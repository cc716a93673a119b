from odoo.tests import tagged

from .outbound_common import OutboundCase


@tagged("post_install", "-at_install")
class TestBacklog(OutboundCase):
    """More due rows than one window of the claim holds, several versions of a record."""

    def _edit(self, config, partners, versions):
        """Save each record so many times, each time in a transaction of its own."""
        for number in range(1, versions + 1):
            for partner in partners:
                partner.city = f"version {number}"
            self._trigger(config, partners)
            deliveries = self._commit(config)
        return deliveries

    def _make_partners(self, count):
        vals = [{"name": f"P{n}", "ref": f"B{n}"} for n in range(count)]
        return self.env["res.partner"].create(vals)

    def _make(self, method="PUT", path="/orders", **vals):
        lines = {
            "ref": {"field_path": "ref", "is_record_identifier": True},
            "city": "city",
        }
        return self._make_config(method, path, lines=lines, **vals)

    def _host(self):
        return f"127.0.0.1:{self.receiver.port}"

    def _choose(self, limit=24):
        self.env.flush_all()
        return self.env["bj.api.sync.delivery"]._choose_due(self._host(), limit)

    def test_one_version_of_a_record_is_chosen_however_many_wait(self):
        for count, versions in [(10, 15), (24, 5), (7, 40), (120, 3)]:
            with self.subTest(records=count, versions=versions):
                config = self._make()
                partners = self._make_partners(count)
                deliveries = self._edit(config, partners, versions)
                newest = deliveries[-count:]
                taken, superseded = self._choose(limit=count)
                self.assertEqual(sorted(taken), newest.ids)
                self.assertEqual(set(superseded), set((deliveries - newest).ids))
                config.unlink()

    def test_a_limit_leaves_whole_records_for_later(self):
        config = self._make()
        deliveries = self._edit(config, self._make_partners(40), 6)
        taken, superseded = self._choose(limit=24)
        self.assertEqual(len(taken), 24)
        self.assertFalse(set(taken) & set(superseded))
        self.assertLessEqual(set(taken), set(deliveries[-40:].ids))
        self.assertEqual(len(superseded), 24 * 5)

    def test_a_backlog_ends_with_the_newest_value_and_one_request_a_record(self):
        for method in ("PUT", "POST"):
            with self.subTest(method):
                self.receiver.clear()
                config = self._make(method)
                partners = self._make_partners(12)
                deliveries = self._edit(config, partners, 14)
                self._send()
                got = sorted((b["ref"], b["city"]) for b in self._bodies())
                self.assertEqual(got, sorted((p.ref, "version 14") for p in partners))
                states = deliveries.mapped("state")
                self.assertEqual(states.count("delivered"), 12)
                self.assertEqual(states.count("superseded"), 12 * 13)
                self.assertFalse(
                    deliveries.filtered(
                        lambda row: row.state == "superseded" and row.attempt_count
                    )
                )

    def test_creation_updates_and_deletion_of_a_backlog_go_one_after_the_other(self):
        create, update = self._make("POST", "/create"), self._make("PUT", "/update")
        delete = self._make("DELETE", "/delete")
        partners = self._make_partners(30)
        self._edit(create, partners, 1)
        self._edit(update, partners, 5)
        self._edit(delete, partners, 1)
        self._send()
        paths = {}
        for request in self.receiver.requests:
            paths.setdefault(request.json()["ref"], []).append(request.path)
        self.assertEqual(
            set(map(tuple, paths.values())), {("/create", "/update", "/delete")}
        )
        self.assertEqual(len(paths), 30)

    def test_batches_and_single_ones_of_a_backlog_keep_their_order(self):
        batch = self._make("PUT", "/batch", is_paginated=True, page_size=7)
        single = self._make("PUT", "/single")
        partners = self._make_partners(30)
        for number in range(8):
            partners.city = f"version {number}"
            self._trigger(batch, partners)
            self._commit()
            partners[number].city = f"version {number}b"
            self._trigger(single, partners[number])
            self._commit()
        self.assertGreater(len(self._get_deliveries(batch | single)), 40)
        self._edit(batch, partners, 11)
        self._send()
        last = {}
        for request in self.receiver.requests:
            bodies = request.json()
            for body in bodies if isinstance(bodies, list) else [bodies]:
                last[body["ref"]] = body["city"]
        self.assertEqual(set(last.values()), {"version 11"})
        self.assertNotIn(
            "pending", self._get_deliveries(batch | single).mapped("state")
        )

    def test_a_newer_version_beyond_the_window_waits_for_one_on_its_way(self):
        config = self._make()
        partners = self._make_partners(10)
        first = self._edit(config, partners, 1)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self._edit(config, partners, 15)
        self.assertEqual(self._choose(), ([], []))

    def test_an_older_row_waits_for_a_newer_one_that_is_on_its_way(self):
        # As when a script sends at once while an older one waits for its next attempt.
        first, second = self._make("PUT", "/a"), self._make("PUT", "/b")
        partner = self._make_partners(1)
        self._edit(first, partner, 1)
        newer = self._edit(second, partner, 1)
        self.env["bj.api.sync.delivery"]._take(newer.ids, [])
        self.assertEqual(self._choose(), ([], []))
