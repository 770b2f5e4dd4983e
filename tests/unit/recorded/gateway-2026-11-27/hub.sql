BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('f460b0348206');
CREATE TABLE api_tokens (
	user_id INTEGER, 
	service_id INTEGER, 
	id INTEGER NOT NULL, 
	hashed VARCHAR(255), 
	prefix VARCHAR(16), 
	client_id VARCHAR(255), 
	session_id VARCHAR(255), 
	created DATETIME, 
	expires_at DATETIME, 
	last_activity DATETIME, 
	note VARCHAR(1023), 
	scopes TEXT, 
	CONSTRAINT pk_api_tokens PRIMARY KEY (id), 
	CONSTRAINT fk_api_tokens_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_api_tokens_service_id_services FOREIGN KEY(service_id) REFERENCES services (id) ON DELETE CASCADE, 
	CONSTRAINT uq_api_tokens_hashed UNIQUE (hashed), 
	CONSTRAINT fk_api_tokens_client_id_oauth_clients FOREIGN KEY(client_id) REFERENCES oauth_clients (identifier) ON DELETE CASCADE
);
INSERT INTO "api_tokens" VALUES(NULL,1,1,'sha512:16384:78dab67fe927d196:d908dd65655916036000839423577c052e51548dc654c62175f24a51a3d1f46f25f1650049630db34940c4308c921ea4f18df7c910324c7b84380280b97fe237','14e0','jupyterhub',NULL,'2026-11-27 17:41:58.048860',NULL,'2026-11-27 17:43:35.388667','from config','["inherit"]');
INSERT INTO "api_tokens" VALUES(NULL,2,2,'sha512:16384:7e50670bdc9f54c3:0e3a2c364902fda35a46b8479e8005649a0466b2e0139a4dd53c52cafa94d59fbead85be3b69d29d05f93b955e5dfff7955f8b29dde49f06ee7138ebb667c725','9865','jupyterhub',NULL,'2026-11-27 17:41:58.075444',NULL,'2026-11-27 17:43:35.464081','from config','["inherit"]');
INSERT INTO "api_tokens" VALUES(3,NULL,3,'sha512:1:8f654f42b75a04c8:2ea61aff93cb3c6f1ab41f2b8fd38e776b5ec562a65a1985a4d64919ffe4d3e9338d54f26b5b60e5eed7b3d33fe9b8f0cb716d7a97d2bd56654db76c4f55c603','7e04','jupyterhub',NULL,'2026-11-27 17:42:57.813253',NULL,'2026-11-27 17:43:02.988089','Server at /user/ada/','["access:services!service=factories", "access:servers!server=ada/", "users:activity!user"]');
INSERT INTO "api_tokens" VALUES(2,NULL,4,'sha512:1:b31ba7f44dbd9884:dcf69e728b3b64c902173788221d59276959dfa8132c137a22639f1de6d69e1f3f26af3e6ef9429d5cde55501214b514298c97e3ee65b5cadd27ae254666bf27','2218','jupyterhub',NULL,'2026-11-27 17:42:59.445800',NULL,'2026-11-27 17:43:03.419780','Server at /user/grace/','["access:services!service=factories", "access:servers!server=grace/", "users:activity!user"]');
INSERT INTO "api_tokens" VALUES(4,NULL,5,'sha512:1:8a89a2ecd2f79687:18c3659dcf9828a017dcfacfae41abca166f2f0d0366bc0e8da187592e678879a9124154c9ef6654f43c4e058da2083d91ff36b8d90f03b483581fd3368bc69b','7b99','jupyterhub',NULL,'2026-11-27 17:43:12.693909',NULL,'2026-11-27 17:43:12.769234','test','["inherit"]');
INSERT INTO "api_tokens" VALUES(3,NULL,6,'sha512:1:d5da556a57b3f3b8:271587844fcf0b3d469bb6ffd5a483f1bd4888fdf83aaa6f6563a0dbc05acdc8baf4dfd384ef4de805d12a2af820bd93d27fbf171fa9bfa0a0d03bf6ede2e1b5','65ac','jupyterhub',NULL,'2026-11-27 17:43:14.183422',NULL,'2026-11-27 17:43:14.243693','test','["inherit"]');
INSERT INTO "api_tokens" VALUES(4,NULL,7,'sha512:1:5fe8acfbeb5406ba:5cfc4a3852d7f448aff488d679c88f1aa9a5be8d38c08dae7846b8141df04a524510d75fb77d2c10481cfcd6e19d70dc4b1ed5d8b87534775c2477edd169aea7','75c1','jupyterhub',NULL,'2026-11-27 17:43:20.237776',NULL,NULL,'Server at /user/emmy/','["access:services!service=factories", "users:activity!user", "access:servers!server=emmy/"]');
INSERT INTO "api_tokens" VALUES(3,NULL,8,'sha512:1:d8ada84ab4e62068:5926f8b080f599375953ddd0e55e9ccf56ff39a640c07d74ce1a2d8ab149c55b2288e4bbb2aa90ea0b1d8d865a7ea9a78cf4f500684af91b24cc8ddac194f288','3f99','jupyterhub',NULL,'2026-11-27 17:43:21.774175',NULL,NULL,'Server at /user/ada/second/','["access:services!service=factories", "access:servers!server=ada/second", "users:activity!user"]');
INSERT INTO "api_tokens" VALUES(2,NULL,9,'sha512:1:8753c0d42eae5653:7c656f83f089d2759675b146ee2ca894a4cedd1f540ef1b8d7cb14d17fe96e947dbb103b6e6eb99a5d6ecac648e547aee26e7112c9309f1c1b08110bcdf88177','2e23','jupyterhub',NULL,'2026-11-27 17:43:35.487662',NULL,'2026-11-27 17:43:35.545190','test','["inherit"]');
CREATE TABLE group_role_map (
	group_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_group_role_map PRIMARY KEY (group_id, role_id), 
	CONSTRAINT fk_group_role_map_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_group_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
CREATE TABLE groups (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	properties TEXT, 
	CONSTRAINT pk_groups PRIMARY KEY (id), 
	CONSTRAINT uq_groups_name UNIQUE (name)
);
CREATE TABLE oauth_clients (
	id INTEGER NOT NULL, 
	identifier VARCHAR(255), 
	description VARCHAR(1023), 
	secret VARCHAR(255), 
	redirect_uri VARCHAR(1023), 
	allowed_scopes TEXT, 
	CONSTRAINT pk_oauth_clients PRIMARY KEY (id), 
	CONSTRAINT uq_oauth_clients_identifier UNIQUE (identifier)
);
INSERT INTO "oauth_clients" VALUES(1,'jupyterhub','JupyterHub','','','[]');
INSERT INTO "oauth_clients" VALUES(2,'service-factories','JupyterHub service factories','sha512:16384:c6074aa25723693a:d18e038996137d0e8cec65f89674bb7526a911d5ef857fc081e931fc03a89a6bc196f4d4c154f88469470e1db1168b2f4bd56259b29b68afa489635b26687540','/services/factories/oauth_callback','["access:services!service=factories"]');
INSERT INTO "oauth_clients" VALUES(3,'jupyterhub-user-ada','Server at /user/ada/','sha512:16384:1dcf62c230a5c6ee:767b2145b518c7649230d33767d8ba4b8e46d110545178a3b988431e56dfbd6b8a0d98c49f3edf8c596a03817b5cc06a70ca785f4e8a315ea448bad503ceb9c2','/user/ada/oauth_callback','["access:servers!server=ada/"]');
INSERT INTO "oauth_clients" VALUES(4,'jupyterhub-user-grace','Server at /user/grace/','sha512:16384:3aad4f8312836a1d:11a7c4312d9fa9c1050d3fcd6de014e6715ecb6fa8981f3db766891aead0bd2b8b08aaaa6565d9057275960b8992d311e47b58194b6abb73d190e8bc67f23455','/user/grace/oauth_callback','["access:servers!server=grace/"]');
INSERT INTO "oauth_clients" VALUES(5,'jupyterhub-user-emmy','Server at /user/emmy/','sha512:16384:2afeafbb573d95a7:0bf09c3861620555f06f98bcc60ee2b3027a344a114322707610146e9e108ad1513ae7bcbc749a1b6773f313fad84f472982d6c553020bcccf91334ffb6663d3','/user/emmy/oauth_callback','["access:servers!server=emmy/"]');
INSERT INTO "oauth_clients" VALUES(6,'jupyterhub-user-ada-second','Server at /user/ada/second/','sha512:16384:6a9d3a4845bbb59a:2743f469adb91935af539c31c4d7101fccc23869f4f6676c686d61c85cab254b312e1b7a87347389d1d4b862526f27975ea565a4e9dcdeb6494d2e7eff695771','/user/ada/second/oauth_callback','["access:servers!server=ada/second"]');
CREATE TABLE oauth_codes (
	id INTEGER NOT NULL, 
	client_id VARCHAR(255), 
	code VARCHAR(36), 
	expires_at INTEGER, 
	redirect_uri VARCHAR(1023), 
	session_id VARCHAR(255), 
	user_id INTEGER, 
	scopes TEXT, 
	code_challenge VARCHAR(255), 
	code_challenge_method VARCHAR(64), 
	CONSTRAINT pk_oauth_codes PRIMARY KEY (id), 
	CONSTRAINT fk_oauth_codes_client_id_oauth_clients FOREIGN KEY(client_id) REFERENCES oauth_clients (identifier) ON DELETE CASCADE, 
	CONSTRAINT fk_oauth_codes_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE roles (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	description VARCHAR(1023), 
	scopes TEXT, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (id), 
	CONSTRAINT uq_roles_name UNIQUE (name)
);
INSERT INTO "roles" VALUES(1,'admin','Elevated privileges (can do anything)','["admin-ui", "admin:users", "admin:servers", "admin:services", "tokens", "admin:groups", "list:services", "read:services", "read:hub", "proxy", "shutdown", "access:services", "access:servers", "read:roles", "read:metrics", "shares"]',0);
INSERT INTO "roles" VALUES(2,'token','Token with same permissions as its owner','["inherit"]',0);
INSERT INTO "roles" VALUES(3,'user','Standard user privileges','["self", "access:services!service=factories"]',0);
INSERT INTO "roles" VALUES(4,'server','Post activity only','["users:activity!user", "access:servers!server", "access:services!service=factories"]',0);
INSERT INTO "roles" VALUES(5,'factories',NULL,'["list:users", "read:users:name", "read:servers", "start:servers"]',0);
INSERT INTO "roles" VALUES(6,'operator',NULL,'["admin:users", "servers", "access:servers", "access:services", "tokens", "admin:groups", "read:roles", "list:services", "read:services", "read:hub", "read:metrics", "proxy"]',0);
CREATE TABLE servers (
	id INTEGER NOT NULL, 
	proto VARCHAR(15), 
	ip VARCHAR(255), 
	port INTEGER, 
	base_url VARCHAR(255), 
	cookie_name VARCHAR(255), 
	CONSTRAINT pk_servers PRIMARY KEY (id)
);
INSERT INTO "servers" VALUES(1,'http','127.0.0.1',8690,'/services/factories/','service-factories');
INSERT INTO "servers" VALUES(2,'http','127.0.0.1',28333,'/user/ada/','cookie');
INSERT INTO "servers" VALUES(3,'http','127.0.0.1',28334,'/user/grace/','cookie');
INSERT INTO "servers" VALUES(4,'http','',33581,'/user/emmy/','cookie');
INSERT INTO "servers" VALUES(5,'http','',37193,'/user/ada/second/','cookie');
CREATE TABLE service_role_map (
	service_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_service_role_map PRIMARY KEY (service_id, role_id), 
	CONSTRAINT fk_service_role_map_service_id_services FOREIGN KEY(service_id) REFERENCES services (id) ON DELETE CASCADE, 
	CONSTRAINT fk_service_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
INSERT INTO "service_role_map" VALUES(1,5,0);
INSERT INTO "service_role_map" VALUES(2,6,0);
CREATE TABLE services (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	admin BOOLEAN, 
	url VARCHAR(2047), 
	oauth_client_allowed_scopes TEXT, 
	info TEXT, 
	display BOOLEAN, 
	oauth_no_confirm BOOLEAN, 
	command TEXT, 
	cwd VARCHAR(4095), 
	environment TEXT, 
	user VARCHAR(255), 
	timeout INTEGER NOT NULL, 
	from_config BOOLEAN, 
	_server_id INTEGER, 
	pid INTEGER, 
	oauth_client_id VARCHAR(255), 
	CONSTRAINT pk_services PRIMARY KEY (id), 
	CONSTRAINT uq_services_name UNIQUE (name), 
	CONSTRAINT fk_services__server_id_servers FOREIGN KEY(_server_id) REFERENCES servers (id) ON DELETE SET NULL, 
	CONSTRAINT fk_services_oauth_client_id_oauth_clients FOREIGN KEY(oauth_client_id) REFERENCES oauth_clients (identifier) ON DELETE SET NULL
);
INSERT INTO "services" VALUES(1,'factories',0,'http://127.0.0.1:8690',NULL,NULL,0,1,NULL,NULL,NULL,NULL,1,1,1,NULL,'service-factories');
INSERT INTO "services" VALUES(2,'admin',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,30,1,NULL,NULL,NULL);
CREATE TABLE share_codes (
	hashed VARCHAR(255), 
	prefix VARCHAR(16), 
	exchange_count INTEGER, 
	last_exchanged_at DATETIME, 
	id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	scopes TEXT, 
	expires_at DATETIME, 
	owner_id INTEGER, 
	spawner_id INTEGER, 
	CONSTRAINT pk_share_codes PRIMARY KEY (id), 
	CONSTRAINT uq_share_codes_hashed UNIQUE (hashed), 
	CONSTRAINT fk_share_codes_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_share_codes_spawner_id_spawners FOREIGN KEY(spawner_id) REFERENCES spawners (id) ON DELETE CASCADE
);
CREATE TABLE shares (
	user_id INTEGER, 
	group_id INTEGER, 
	id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	scopes TEXT, 
	expires_at DATETIME, 
	owner_id INTEGER, 
	spawner_id INTEGER, 
	CONSTRAINT pk_shares PRIMARY KEY (id), 
	CONSTRAINT fk_shares_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_spawner_id_spawners FOREIGN KEY(spawner_id) REFERENCES spawners (id) ON DELETE CASCADE
);
CREATE TABLE spawners (
	id INTEGER NOT NULL, 
	user_id INTEGER, 
	server_id INTEGER, 
	state TEXT, 
	name VARCHAR(255), 
	display_name VARCHAR(255), 
	started DATETIME, 
	last_activity DATETIME, 
	user_options TEXT, 
	oauth_client_id VARCHAR(255), 
	CONSTRAINT pk_spawners PRIMARY KEY (id), 
	CONSTRAINT fk_spawners_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_spawners_server_id_servers FOREIGN KEY(server_id) REFERENCES servers (id) ON DELETE SET NULL, 
	CONSTRAINT fk_spawners_oauth_client_id_oauth_clients FOREIGN KEY(oauth_client_id) REFERENCES oauth_clients (identifier) ON DELETE SET NULL
);
INSERT INTO "spawners" VALUES(1,3,2,'{"session_id": "28f1e05a5b14400c9574436a5bbd39ac", "api_token": "7e0424c2637744a6bfc8e7ce896fd572", "options": {"factory": "it4lia", "size": "gpu-1", "environment": "python", "hours": 2.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}}','','','2026-11-27 17:42:57.890422','2026-11-27 17:43:02.109218','{"factory": "it4lia", "size": "gpu-1", "environment": "python", "hours": 2.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}','jupyterhub-user-ada');
INSERT INTO "spawners" VALUES(2,2,3,'{"session_id": "5a21b7a3a6c64b5da0e8039f57677710", "api_token": "22181354dc354699abd8bc5c3645adf0", "options": {"factory": "it4lia", "size": "gpu-1", "environment": "python", "hours": 1.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}}','','','2026-11-27 17:42:59.534393','2026-11-27 17:43:02.790524','{"factory": "it4lia", "size": "gpu-1", "environment": "python", "hours": 1.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}','jupyterhub-user-grace');
INSERT INTO "spawners" VALUES(3,4,4,'{"session_id": "808fc6c4cc0c4dfdb2f1a0743dc8f5c1", "api_token": "75c1c8d408224c78b6b863f1ecac867c", "options": {"factory": "it4lia", "size": "gpu-2", "environment": "python", "hours": 1.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}}','','','2026-11-27 17:43:20.340970','2026-11-27 17:43:20.340970','{"factory": "it4lia", "size": "gpu-2", "environment": "python", "hours": 1.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}','jupyterhub-user-emmy');
INSERT INTO "spawners" VALUES(4,3,5,'{"session_id": "81b81fc477b444739d6529906450fcf6", "api_token": "3f99d5b1f87b4da2b4122d50bbe6b941", "options": {"factory": "it4lia", "size": "gpu-4", "environment": "python", "hours": 3.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}}','second','second','2026-11-27 17:43:21.828959','2026-11-27 17:43:21.828959','{"factory": "it4lia", "size": "gpu-4", "environment": "python", "hours": 3.0, "idle_minutes": 60, "unopened_minutes": 30, "url_tokens": false}','jupyterhub-user-ada-second');
CREATE TABLE user_group_map (
	user_id INTEGER NOT NULL, 
	group_id INTEGER NOT NULL, 
	CONSTRAINT pk_user_group_map PRIMARY KEY (user_id, group_id), 
	CONSTRAINT fk_user_group_map_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_user_group_map_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE
);
CREATE TABLE user_role_map (
	user_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_user_role_map PRIMARY KEY (user_id, role_id), 
	CONSTRAINT fk_user_role_map_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_user_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
INSERT INTO "user_role_map" VALUES(1,1,0);
INSERT INTO "user_role_map" VALUES(1,3,0);
INSERT INTO "user_role_map" VALUES(3,3,0);
INSERT INTO "user_role_map" VALUES(4,3,0);
INSERT INTO "user_role_map" VALUES(2,3,0);
CREATE TABLE users (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	user_info TEXT, 
	admin BOOLEAN, 
	created DATETIME, 
	last_activity DATETIME, 
	cookie_id VARCHAR(255) NOT NULL, 
	state TEXT, 
	encrypted_auth_state BLOB, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name UNIQUE (name), 
	CONSTRAINT uq_users_cookie_id UNIQUE (cookie_id)
);
INSERT INTO "users" VALUES(1,'admin',NULL,1,'2026-11-27 17:41:57.888900',NULL,'231d9d48cecd446492904401e0c80039',NULL,NULL);
INSERT INTO "users" VALUES(2,'grace',NULL,0,'2026-11-27 17:41:57.931973','2026-11-27 17:43:35.545190','d952df8f71494c7d8eeea6daa9a58642','{}',NULL);
INSERT INTO "users" VALUES(3,'ada',NULL,0,'2026-11-27 17:41:57.936588','2026-11-27 17:43:21.828959','8573eacfcbcc4ec6bd769599453ab908','{}',NULL);
INSERT INTO "users" VALUES(4,'emmy',NULL,0,'2026-11-27 17:41:57.937049','2026-11-27 17:43:20.340970','e199119106754b7a99201498924a259c','{}',NULL);
CREATE INDEX ix_share_codes_prefix ON share_codes (prefix);
CREATE INDEX ix_api_tokens_prefix ON api_tokens (prefix);
COMMIT;
