from odoo.tests import Form, new_test_user

from .outbound_common import LINES, OutboundCase

MANAGER = "base.group_user,base.group_partner_manager,bj_api_sync.group_bj_api_manager"
SECRETS = ("bearer_token_secret", "auth_password_secret", "signing_secret_secret")


class TestMovedAddress(OutboundCase):
    """What becomes of credentials when the Request URL leads to somewhere else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(cls.env, "bj_moving_manager", groups=MANAGER)
        cls.administrator = new_test_user(
            cls.env, "bj_moving_admin", groups=f"{MANAGER},base.group_system"
        )

    def _make_config(self, *args, **vals):
        config = super()._make_config(
            *args,
            **{
                "url": "https://api.example.com/a",
                "auth_type": "bearer",
                "bearer_token": "s3cret-bearer",
                "auth_password": "s3cret-password",
                "signing_secret": "s3cret-signing",
                "header_ids": [
                    (0, 0, {"name": "X-Sec", "value": "s3cret-h", "is_secret": True}),
                    (0, 0, {"name": "X-Clear", "value": "clear"}),
                ],
                "param_ids": [(0, 0, {"name": "api_key", "value": "s3cret-param"})],
                **vals,
            },
        )
        self.env.flush_all()
        return config

    def _count(self, config):
        """Return how many credentials there are still, of five."""
        self.env.invalidate_all()
        config = config.sudo()
        return len(
            [
                *filter(None, (config[name] for name in SECRETS)),
                *config.header_ids.filtered("value_secret"),
                *config.param_ids.filtered("value_secret"),
            ]
        )

    def test_a_manager_who_changes_the_address_types_them_again(self):
        for url in (
            "https://evil.example.org/a",
            "http://api.example.com/a",
            "https://api.example.com:8443/a",
            "https://api.example.com.evil.org/a",
            "https://evil.org/?https://api.example.com/a",
            "https://{ref}/a",
            "https://{ref}.example.com/a",
        ):
            with self.subTest(url=url):
                config = self._make_config().with_user(self.manager)
                self.assertEqual(self._count(config), 5)
                config.url = url
                self.assertEqual(self._count(config), 0)
                config.url = "https://api.example.com/a"
                self.assertEqual(self._count(config), 0, "nor on the way back")
                self.assertEqual(config.header_ids.mapped("value"), [False, "clear"])

    def test_the_same_place_is_no_change_and_an_administrator_keeps_them(self):
        config = self._make_config()
        for url in (
            "https://API.example.com/other/{ref}?x=1",
            "HTTPS://api.example.com:443/a",
        ):
            config.with_user(self.manager).url = url
            self.assertEqual(self._count(config), 5)
        config.with_user(self.manager).write({"name": "Renamed", "url": config.url})
        self.assertEqual(self._count(config), 5)
        config.with_user(self.administrator).url = "https://new.example.org/a"
        self.assertEqual(self._count(config), 5)

    def test_each_of_many_is_judged_by_its_own_address(self):
        there = self._make_config(url="https://there.example.org/x")
        here = self._make_config()
        (here | there).with_user(self.manager).url = "https://there.example.org/y"
        self.assertEqual((self._count(here), self._count(there)), (0, 5))

    def test_what_is_typed_with_the_address_is_kept(self):
        config = self._make_config().with_user(self.manager)
        header = config.header_ids.filtered("is_secret")
        config.write(
            {
                "url": "https://new.example.org/a",
                "bearer_token": "typed-anew",
                "auth_password": "********",
                "header_ids": [(1, header.id, {"value": "typed-anew"})],
            }
        )
        self.assertEqual(self._count(config), 2)
        self.assertEqual(config.sudo()._get_secret("bearer_token"), "typed-anew")
        self.assertEqual(header._get_value(), "typed-anew")

    def test_no_other_way_brings_them_along(self):
        config = self._make_config()
        mine = config.with_user(self.manager)
        copy = mine.copy({"url": "https://evil.example.org/a"})
        self.assertEqual(self._count(copy), 0)
        self.assertEqual(self._count(mine.copy()), 0)
        for values in (config.header_ids[:1], config.param_ids):
            values.with_user(self.manager).copy({"config_id": copy.id})
        self.assertEqual(self._count(copy), 0)
        copy.header_ids = [(4, config.header_ids[:1].id)]
        config.param_ids.with_user(self.manager).config_id = copy
        self.assertEqual((self._count(copy), self._count(config)), (0, 3))
        mine.load(
            [".id", "url"], [[str(config.id), "https://evil.example.org/imported"]]
        )
        self.assertEqual(config.url, "https://evil.example.org/imported")
        self.assertEqual(self._count(config), 0)

    def test_a_test_of_the_connection_there_sends_none(self):
        config = self._make_config()
        for moved in (config, config.with_user(self.manager).copy()):
            self.receiver.clear()
            moved = moved.with_user(self.manager)
            moved.url = self.receiver.url("/evil")
            moved.action_test_connection()
            self.assertTrue(self.receiver.requests)
            for request in self.receiver.requests:
                self.assertNotIn("s3cret", str(dict(request.headers)) + request.path)

    def test_the_form_says_so_before_it_is_saved(self):
        config = self._make_config()
        form = Form(config.with_user(self.manager))
        self.assertFalse(form.drops_secrets)
        form.url = "https://evil.example.org/a"
        self.assertTrue(form.drops_secrets)
        form.url = "https://api.example.com/b"
        self.assertFalse(form.drops_secrets)
        form.save()
        self.assertEqual(self._count(config), 5)
        form.url = "https://evil.example.org/a"
        form.bearer_token = "typed-anew"
        form.save()
        self.assertEqual(self._count(config), 1)
        form = Form(self._make_config().with_user(self.administrator))
        form.url = "https://evil.example.org/a"
        self.assertFalse(form.drops_secrets)

    def test_lines_that_the_host_is_made_of_count_as_the_address(self):
        mapping = self.env["bj.api.sync.config"].create(
            {
                "name": "Mapping",
                "model_id": self.env.ref("base.model_res_country").id,
                "line_ids": [(0, 0, {"api_key": "code", "field_path": "code"}),
                             (0, 0, {"api_key": "name", "field_path": "name"})],
            }
        )  # fmt: skip
        lines = {
            **LINES,
            "country": {
                "field_path": "country_id",
                "value_type": "relational_mapping",
                "mapping_config_id": mapping.id,
            },
        }
        changes = {
            "a line of the host": lambda config: config.line_ids[0].write(
                {"field_path": "name"}
            ),
            "another line": lambda config: config.line_ids[1].write(
                {"field_path": "phone"}
            ),
            "a constant for it": lambda config: config.write(
                {"line_ids": [(1, config.line_ids[0].id, {
                    "is_record_identifier": False, "value_type": "constant",
                    "constant_value": "evil", "field_path": False})]}
            ),
            "its line deleted": lambda config: config.line_ids[0].unlink(),
            "its mapping model": lambda config: mapping.with_user(
                self.manager
            ).line_ids[0].write({"field_path": "phone_code"}),
        }  # fmt: skip
        for name, do in changes.items():
            for url, drops in (
                ("https://{ref}.example.com/a", name not in
                 ("another line", "its mapping model")),
                ("https://{country.code}.example.com/a", name == "its mapping model"),
                ("https://api.example.com/{ref}", False),
            ):  # fmt: skip
                with self.subTest(change=name, url=url):
                    config = self._make_config(lines=lines, url=url)
                    with self.env.cr.savepoint() as savepoint:
                        do(config.with_user(self.manager))
                        self.assertEqual(self._count(config), 0 if drops else 5)
                        savepoint.rollback()
                    self.env.invalidate_all()
        config = self._make_config(lines=lines, url="https://{ref}.example.com/a")
        config.with_user(self.administrator).line_ids[0].field_path = "name"
        self.assertEqual(self._count(config), 5)


class TestWaiting(OutboundCase):
    """Deliveries that wait were made for the address of that time."""

    def _make_secret_config(self, **vals):
        return self._make_config(
            auth_type="bearer", bearer_token="s3cret-bearer", **vals
        )

    def test_credentials_do_not_follow_to_where_the_url_does_not_lead(self):
        config = self._make_secret_config()
        delivery = self._enqueue(config, self._make_partner())
        # Somebody had it lead to a host of his own, and an administrator has put it right.
        config.url = f"{self.receiver.url('/orders').replace('127.0.0.1', 'localhost')}"
        self._send()
        self.assertFalse(self.receiver.requests)
        self.assertEqual(delivery.state, "failed")
        self.assertIn("Rebuild and Send", delivery.last_error)
        self.assertIn("localhost", delivery.last_error)
        delivery.action_rebuild_and_send()
        self._commit()
        self._send()
        self.assertEqual(len(self.receiver.requests), 1)
        self.assertIn("s3cret-bearer", str(dict(self.receiver.requests[0].headers)))

    def test_another_path_of_the_same_place_changes_nothing(self):
        config = self._make_secret_config()
        delivery = self._enqueue(config, self._make_partner())
        config.url = self.receiver.url("/other/{ref}")
        self._send()
        self.assertEqual(delivery.state, "delivered")

    def test_without_credentials_it_goes_where_it_was_made_for(self):
        config = self._make_config()
        delivery = self._enqueue(config, self._make_partner())
        config.url = "https://api.example.com/a"
        self._send()
        self.assertEqual(delivery.state, "delivered")
