BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0013');
CREATE TABLE checks (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	tests TEXT NOT NULL, 
	PRIMARY KEY (workshop, person), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "checks" VALUES('after-the-flood-ns9t','ada',1796115600.0,'{"browser":"good","cookies":"good","trip":"good","download":"good","upload":"good","stream":"good","socket":"bad"}');
CREATE TABLE codes (
	id INTEGER NOT NULL, 
	workshop VARCHAR NOT NULL, 
	salt VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	uses INTEGER, 
	used INTEGER NOT NULL, 
	expires FLOAT, 
	domains TEXT NOT NULL, 
	made FLOAT NOT NULL, 
	made_by VARCHAR NOT NULL, 
	revoked FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "codes" VALUES(1,'the-week-before-9k56','fcd335025a88065c611ba2253e24f27a','115442d5851c68bfece42c6d29f30728f48c71dd751583e98b3a2c77d0d8bdad',NULL,0,NULL,'[]',1795852800.0,'tina',NULL);
INSERT INTO "codes" VALUES(2,'after-the-flood-ns9t','7f6ec7a858c39aaaadf17f087ad620bc','963fae9a1a6fac3a1e62aaa13bc0101ab475f0642e6ba6b3d018651ced503745',9,1,NULL,'["example.org"]',1796115600.0,'tina',NULL);
CREATE TABLE deliveries (
	workshop VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (workshop, message, person), 
	FOREIGN KEY(workshop, message) REFERENCES messages (workshop, id)
);
INSERT INTO "deliveries" VALUES('after-the-flood-ns9t','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','ada',1796290840.0);
CREATE TABLE events (
	number INTEGER NOT NULL, 
	workshop VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "events" VALUES(1,'the-week-before-9k56',1795852800.0,'tina','created','The week before');
INSERT INTO "events" VALUES(2,'the-week-before-9k56',1795852800.0,'olga','approved','');
INSERT INTO "events" VALUES(3,'the-week-before-9k56',1795852800.0,'','schedule','');
INSERT INTO "events" VALUES(4,'the-week-before-9k56',1795852800.0,'tina','role','ada: participant');
INSERT INTO "events" VALUES(5,'the-week-before-9k56',1796112000.0,'','warm','');
INSERT INTO "events" VALUES(6,'the-week-before-9k56',1796112000.0,'','close','');
INSERT INTO "events" VALUES(7,'the-week-before-9k56',1796115600.0,'','archive','');
INSERT INTO "events" VALUES(8,'after-the-flood-ns9t',1796115600.0,'tina','created','After the flood');
INSERT INTO "events" VALUES(9,'after-the-flood-ns9t',1796115600.0,'olga','approved','');
INSERT INTO "events" VALUES(10,'after-the-flood-ns9t',1796115600.0,'','schedule','');
INSERT INTO "events" VALUES(11,'after-the-flood-ns9t',1796115600.0,'tina','role','otto: instructor');
INSERT INTO "events" VALUES(12,'after-the-flood-ns9t',1796115600.0,'tina','role','hedy: helper');
INSERT INTO "events" VALUES(13,'after-the-flood-ns9t',1796115600.0,'tina','role','ada: participant');
INSERT INTO "events" VALUES(14,'after-the-flood-ns9t',1796115600.0,'guest.ben.n9asdq','joined','participant');
INSERT INTO "events" VALUES(15,'after-the-flood-ns9t',1796115600.0,'tina','role','cleo: participant');
INSERT INTO "events" VALUES(16,'after-the-flood-ns9t',1796115600.0,'tina','role','dan: participant');
INSERT INTO "events" VALUES(17,'after-the-flood-ns9t',1796115600.0,'tina','role','eve: participant');
INSERT INTO "events" VALUES(18,'after-the-flood-ns9t',1796115600.0,'tina','banned','eve');
INSERT INTO "events" VALUES(19,'after-the-flood-ns9t',1796115600.0,'tina','rehearsal','dry: one');
INSERT INTO "events" VALUES(20,'after-the-flood-ns9t',1796115600.0,'tina','rehearsal','seats: one');
INSERT INTO "events" VALUES(21,'after-the-flood-ns9t',1796115820.0,'','rehearsed','one: green');
INSERT INTO "events" VALUES(22,'after-the-flood-ns9t',1796288140.0,'','warm','');
INSERT INTO "events" VALUES(23,'after-the-flood-ns9t',1796290840.0,'','open','');
INSERT INTO "events" VALUES(24,'after-the-flood-ns9t',1796290840.0,'tina','moved','B (two), 3');
INSERT INTO "events" VALUES(25,'after-the-flood-ns9t',1796290840.0,'tina','message','Wir beginnen.');
INSERT INTO "events" VALUES(26,'after-the-flood-ns9t',1796290840.0,'ada','hand','');
INSERT INTO "events" VALUES(27,'after-the-flood-ns9t',1796290840.0,'tina','extended','15');
CREATE TABLE guests (
	name VARCHAR NOT NULL, 
	mail VARCHAR NOT NULL, 
	shown TEXT NOT NULL, 
	made FLOAT NOT NULL, 
	PRIMARY KEY (name), 
	UNIQUE (mail)
);
INSERT INTO "guests" VALUES('guest.ben.n9asdq','ben@example.org','Ben',1796115600.0);
CREATE TABLE hands (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	question TEXT NOT NULL, 
	file TEXT NOT NULL, 
	source TEXT NOT NULL, 
	error TEXT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	asked_by VARCHAR NOT NULL, 
	PRIMARY KEY (workshop, person), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "hands" VALUES('after-the-flood-ns9t','ada',1796290840.0,'Why?','','1/0','ZeroDivisionError','','');
CREATE TABLE invitations (
	workshop VARCHAR NOT NULL, 
	mail VARCHAR NOT NULL, 
	role TEXT NOT NULL, 
	shown TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	PRIMARY KEY (workshop, mail), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
CREATE TABLE material_deliveries (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	session VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	commit_id VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	report TEXT, 
	problem TEXT NOT NULL, 
	PRIMARY KEY (workshop, person, session), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
CREATE TABLE materials (
	workshop VARCHAR NOT NULL, 
	repository VARCHAR NOT NULL, 
	commit_id VARCHAR NOT NULL, 
	state TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	digest VARCHAR, 
	files INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	problem TEXT NOT NULL, 
	refused TEXT NOT NULL, 
	steps TEXT, 
	PRIMARY KEY (workshop), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
CREATE TABLE memberships (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	role TEXT NOT NULL, 
	state TEXT NOT NULL, 
	seat INTEGER, 
	at FLOAT NOT NULL, 
	name VARCHAR, 
	mail VARCHAR, 
	terms_at FLOAT, 
	code INTEGER, 
	language VARCHAR, 
	PRIMARY KEY (workshop, person), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "memberships" VALUES('the-week-before-9k56','tina','"lead"','"staff"',NULL,1795852800.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('the-week-before-9k56','ada','"participant"','"seated"',1,1795852800.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','tina','"lead"','"staff"',NULL,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','otto','"instructor"','"staff"',NULL,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','hedy','"helper"','"staff"',NULL,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','ada','"participant"','"seated"',1,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','guest.ben.n9asdq','"participant"','"seated"',2,1796115600.0,'Ben','ben@example.org',1796115600.0,2,'de');
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','cleo','"participant"','"seated"',3,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','dan','"participant"','"waiting"',NULL,1796115600.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "memberships" VALUES('after-the-flood-ns9t','eve','"participant"','"banned"',NULL,1796115600.0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE messages (
	workshop VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	kind TEXT NOT NULL, 
	text TEXT NOT NULL, 
	texts TEXT NOT NULL, 
	PRIMARY KEY (workshop, id), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "messages" VALUES('after-the-flood-ns9t','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1796290840.0,'tina','"info"','Wir beginnen.','{"de":"Wir beginnen.","en":"We begin."}');
CREATE TABLE moves (
	workshop VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	place INTEGER NOT NULL, 
	seats TEXT, 
	PRIMARY KEY (workshop, number), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "moves" VALUES('after-the-flood-ns9t',1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1796290840.0,'tina',2,'[3]');
CREATE TABLE places (
	workshop VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	factory VARCHAR NOT NULL, 
	size VARCHAR NOT NULL, 
	environment VARCHAR, 
	pool VARCHAR NOT NULL, 
	reservation VARCHAR, 
	PRIMARY KEY (workshop, number), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "places" VALUES('the-week-before-9k56',1,'one','gpu-1',NULL,'class',NULL);
INSERT INTO "places" VALUES('after-the-flood-ns9t',1,'one','gpu-1',NULL,'class','r1');
INSERT INTO "places" VALUES('after-the-flood-ns9t',2,'two','gpu-2',NULL,'other',NULL);
CREATE TABLE rates (
	factory VARCHAR NOT NULL, 
	size VARCHAR NOT NULL, 
	per_minute FLOAT NOT NULL, 
	cold_seconds FLOAT NOT NULL, 
	seats INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory, size)
);
INSERT INTO "rates" VALUES('one','gpu-1',600.0,40.0,3,1796115820.0);
CREATE TABLE rehearsals (
	workshop VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	until FLOAT, 
	seats TEXT NOT NULL, 
	result TEXT, 
	signature VARCHAR, 
	PRIMARY KEY (workshop, factory, kind), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "rehearsals" VALUES('after-the-flood-ns9t','one','dry',1796115600.0,'tina',NULL,'[]','{"workshop":"after-the-flood-ns9t","factory":"one","kind":"dry","at":"2026-12-01T09:00:00Z","ended":"2026-12-01T09:00:00Z","by":"tina","lines":[{"code":"rehearsal-participants-many","parameters":{"seated":"3","seats":"3","waiting":"1","invited":"0","people":"4"},"check":"participants","colour":"red","text":"There are 3 seats for 4 people, with those invited.","do":"Raise the number of seats, or tell those who will get none."},{"code":"rehearsal-rules","parameters":{"machine":"m"},"check":"rules","colour":"green","text":"Everybody who has joined has accepted the rules of m.","do":""},{"code":"rehearsal-terms","parameters":{},"check":"terms","colour":"green","text":"Nothing keeps those who have joined from starting: terms, logins, blocks.","do":""},{"code":"rehearsal-budget-none","parameters":{"needed":"6"},"check":"budget","colour":"green","text":"No budget limits the class; it may use 6 GPU-hours.","do":""},{"code":"rehearsal-place","parameters":{"machine":"m"},"check":"place","colour":"green","text":"m answers, and sessions may start there.","do":""},{"code":"rehearsal-prestart","parameters":{},"check":"prestart","colour":"green","text":"The site has agreed that seats begin before their people come.","do":""},{"code":"rehearsal-size","parameters":{"size":"1 x A100 40 GB","machine":"m"},"check":"size","colour":"green","text":"m has the node size 1 x A100 40 GB, for as many hours as a seat may last.","do":""},{"code":"rehearsal-environment","parameters":{"environment":"plain","machine":"m"},"check":"environment","colour":"green","text":"The environment plain is there.","do":""},{"code":"rehearsal-reservation-gone","parameters":{"machine":"m","name":"r1"},"check":"reservation","colour":"red","text":"m knows no reservation r1, or it is over.","do":"Ask this gateway''s operators; they speak with the site."},{"code":"rehearsal-no-maintenance","parameters":{},"check":"maintenance","colour":"green","text":"No maintenance is announced for the time of the class.","do":""},{"code":"rehearsal-accounts","parameters":{"pool":"4","usable":"4","seats":"3","wanted":"4","failed":"0"},"check":"accounts","colour":"green","text":"4 accounts can be lent, for 3 seats and some spare.","do":""},{"code":"rehearsal-wipe","parameters":{},"check":"wipe","colour":"green","text":"Accounts are emptied before and after the class.","do":""},{"code":"rehearsal-pace","parameters":{"seats":"3","minutes":"1","warm":"30"},"check":"pace","colour":"green","text":"At the pace of the site, 3 seats begin within 1 minutes.","do":""},{"code":"rehearsal-no-material","parameters":{},"check":"material","colour":"green","text":"The workshop brings no material.","do":""},{"code":"rehearsal-connections-bad","parameters":{"checked":"1","people":"4","problems":"1"},"check":"connections","colour":"yellow","text":"For 1 of 1 people something does not work.","do":"Their names are on the workshop''s page."},{"code":"rehearsal-versions","parameters":{"link":"0.2.0","service":"0.2.0"},"check":"versions","colour":"green","text":"Link and workshops service are both of release 0.2.0.","do":""}],"seats":[],"parts":{"plan":"419c0c465435c700b6a4b7eb86d49222ca662c20babfabbfc8a6d1e5e65ccf75","material":"74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b","environment":"0a0ad91d253615e219201b4bd60912803d2b108e27b4c198b3dee7e491782643","catalogue":"1f94f3136203e18eae53c83e4ddc1c9a5af2e450da03100eb05cdf9b01519ed5","agreement":"62bdcb476cd26c07d4a66698ed3438f97af631642ae5c646dc6e1c8aff8ca901"}}','30fac464b6deea0b2a88bb8c99b5c3f961d587f4fd4a9c7d2ea09467ec277075');
INSERT INTO "rehearsals" VALUES('after-the-flood-ns9t','one','seats',1796115600.0,'tina',NULL,'[{"person":"tina","server":"rehearsal-1","session":"fc5d6e5e1cd649f890c59244065eeef6","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null},{"person":"tina","server":"rehearsal-2","session":"840ccac4c2264d8d9275d8bb74ec4cae","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null},{"person":"tina","server":"rehearsal-3","session":"551c8013192f477bbe6bffbf95b87d83","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null}]','{"workshop":"after-the-flood-ns9t","factory":"one","kind":"seats","at":"2026-12-01T09:00:00Z","ended":"2026-12-01T09:03:40Z","by":"tina","lines":[{"code":"rehearsal-seat","parameters":{"number":"1","seconds":"40"},"check":"seat","colour":"green","text":"Seat 1 could be opened after 40 seconds.","do":""},{"code":"rehearsal-seat","parameters":{"number":"2","seconds":"40"},"check":"seat","colour":"green","text":"Seat 2 could be opened after 40 seconds.","do":""},{"code":"rehearsal-seat","parameters":{"number":"3","seconds":"40"},"check":"seat","colour":"green","text":"Seat 3 could be opened after 40 seconds.","do":""}],"seats":[{"person":"tina","server":"rehearsal-1","session":"fc5d6e5e1cd649f890c59244065eeef6","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null},{"person":"tina","server":"rehearsal-2","session":"840ccac4c2264d8d9275d8bb74ec4cae","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null},{"person":"tina","server":"rehearsal-3","session":"551c8013192f477bbe6bffbf95b87d83","state":"running","asked":"2026-12-01T09:00:00Z","ran":"2026-12-01T09:00:40Z","why":null}],"parts":{"plan":"8a9d871ce7f6e105981da25298affacbc4a9822ae43b0d89d04a1ca156e8ad60","material":"74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b","environment":"0a0ad91d253615e219201b4bd60912803d2b108e27b4c198b3dee7e491782643","catalogue":"1f94f3136203e18eae53c83e4ddc1c9a5af2e450da03100eb05cdf9b01519ed5","agreement":"62bdcb476cd26c07d4a66698ed3438f97af631642ae5c646dc6e1c8aff8ca901"}}','57058eb89f4f47b605780a74a0eded003c8135bce757f3e3aaeac37cf4aa7dda');
CREATE TABLE reports (
	workshop VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	content TEXT NOT NULL, 
	PRIMARY KEY (workshop), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "reports" VALUES('the-week-before-9k56',1796115600.0,'{"slug":"the-week-before-9k56","title":"The week before","state":"archived","zone":"UTC","opens":"2026-11-30T08:00:00Z","starts":"2026-11-30T09:00:00Z","ends":"2026-11-30T12:00:00Z","closes":"2026-11-30T13:00:00Z","made":"2026-12-01T09:00:00Z","seats":2,"joined":1,"waiting":0,"came":0,"certified":0,"used_seats":0,"sessions":0,"running":0,"hours":0.0,"gpu_hours":0.0,"cluster_gpu_hours":0.0,"costs":[],"waits":{"count":0,"p50":null,"p95":null,"most":null},"failures":[],"people":[],"whole":true,"erased":null}');
CREATE TABLE seat_acts (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	act TEXT NOT NULL, 
	state TEXT NOT NULL, 
	ends TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	moved FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	why TEXT, 
	PRIMARY KEY (workshop, person), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
CREATE TABLE seats (
	workshop VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	size VARCHAR NOT NULL, 
	session VARCHAR NOT NULL, 
	state TEXT NOT NULL, 
	wave INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	asked FLOAT NOT NULL, 
	ran FLOAT, 
	why TEXT, 
	PRIMARY KEY (workshop, person), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "seats" VALUES('after-the-flood-ns9t','ada','one','gpu-1','75e198862e75421f8f9aa6f56e915b85','"running"',1,0,1796288140.0,1796290840.0,NULL);
INSERT INTO "seats" VALUES('after-the-flood-ns9t','guest.ben.n9asdq','one','gpu-1','7359d914da414d9a82fcc4d000dfff9f','"begun"',1,0,1796288140.0,NULL,NULL);
INSERT INTO "seats" VALUES('after-the-flood-ns9t','cleo','one','gpu-1','6d12e23383e34701b31e6385f42c48f6','"begun"',1,0,1796288140.0,NULL,NULL);
CREATE TABLE sent_mails (
	number INTEGER NOT NULL, 
	address VARCHAR NOT NULL, 
	workshop VARCHAR, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "sent_mails" VALUES(1,'f3568915dbeee64ab2dcb177a5806b0917da6f20b3099220edb7565ac8236ea8','after-the-flood-ns9t',1796115600.0);
CREATE TABLE tickets (
	digest VARCHAR NOT NULL, 
	workshop VARCHAR, 
	code INTEGER, 
	made FLOAT NOT NULL, 
	mail VARCHAR, 
	typed VARCHAR, 
	digits VARCHAR, 
	sent FLOAT, 
	wrong INTEGER NOT NULL, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
CREATE TABLE warm_ups (
	workshop VARCHAR NOT NULL, 
	halted FLOAT, 
	wave INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	"of" INTEGER NOT NULL, 
	why TEXT, 
	go_on FLOAT, 
	PRIMARY KEY (workshop), 
	FOREIGN KEY(workshop) REFERENCES workshops (slug)
);
INSERT INTO "warm_ups" VALUES('after-the-flood-ns9t',NULL,0,0,0,NULL,1796290840.0);
CREATE TABLE workshops (
	slug VARCHAR NOT NULL, 
	title TEXT NOT NULL, 
	zone VARCHAR NOT NULL, 
	opens FLOAT NOT NULL, 
	starts FLOAT NOT NULL, 
	ends FLOAT NOT NULL, 
	closes FLOAT NOT NULL, 
	seats INTEGER NOT NULL, 
	hours FLOAT NOT NULL, 
	gpu_hours FLOAT, 
	person_gpu_hours FLOAT, 
	terms TEXT NOT NULL, 
	languages TEXT NOT NULL, 
	material TEXT, 
	retention_days INTEGER NOT NULL, 
	warm_minutes INTEGER NOT NULL, 
	seat_on_join BOOLEAN DEFAULT 1 NOT NULL, 
	state TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	made FLOAT NOT NULL, 
	made_by VARCHAR NOT NULL, 
	submitted FLOAT, 
	declined TEXT NOT NULL, 
	problem TEXT NOT NULL, 
	warmed FLOAT, 
	closed FLOAT, 
	over FLOAT, 
	erased FLOAT, 
	certificate_percent INTEGER DEFAULT '75' NOT NULL, 
	PRIMARY KEY (slug)
);
INSERT INTO "workshops" VALUES('the-week-before-9k56','The week before','UTC',1796025600.0,1796029200.0,1796040000.0,1796043600.0,2,4.0,NULL,NULL,'','["en"]',NULL,30,30,1,'"archived"',6,1795852800.0,'tina',1795852800.0,'','',1796112000.0,1796112000.0,1796115600.0,NULL,75);
INSERT INTO "workshops" VALUES('after-the-flood-ns9t','After the flood','Europe/Berlin',1796288400.0,1796292000.0,1796303700.0,1796307300.0,3,2.25,40.0,NULL,'Be kind.
Always.','["de","en"]',NULL,5,30,1,'"open"',6,1796115600.0,'tina',1796115600.0,'','',1796288140.0,NULL,NULL,NULL,60);
CREATE INDEX sent_to_an_address ON sent_mails (address, at);
CREATE INDEX memberships_of_a_person ON memberships (person);
CREATE UNIQUE INDEX one_person_a_seat ON memberships (workshop, seat);
CREATE INDEX ix_codes_workshop ON codes (workshop);
CREATE INDEX ix_events_workshop ON events (workshop);
CREATE INDEX ix_tickets_mail ON tickets (mail);
CREATE INDEX ix_tickets_workshop ON tickets (workshop);
COMMIT;
