//! The one function that changes the model.
//!
//! Deterministic: the same commands in the same order give the same model and the same replies on every management
//! instance. A refused command changes nothing, not even the sequence. What an instance reports is in `report`.

use crate::command::{Command, Refused, Reply};
use crate::layout::default_layout;
use crate::lifecycle::{Status, Target, allowed};
use crate::model::{
    Database, DatabaseNumber, DistributionMap, EVENTS_MAX, Element, ElementNumber, Event, Grid, Instance,
    InstanceNumber, InstanceSpec, Millis, Model, ReplicaSet, SetId,
};

/// Longest name of a grid, database, host or instance, in bytes. PostgreSQL's limit for names.
pub const NAME_BYTES_MAX: usize = 63;
/// Instance numbers have ten bits in transaction ids.
pub const INSTANCES_MAX: InstanceNumber = 1023;

impl Model {
    /// Applies a command of the management group's log.
    ///
    /// # Errors
    /// When the command is refused; the model is unchanged then.
    pub fn apply(&mut self, command: &Command) -> Result<Reply, Refused> {
        let at = command.at_ms();
        if self.grid.is_none() && !matches!(command, Command::CreateGrid { .. }) {
            return Err(Refused::NoGrid);
        }
        let reply = match command {
            Command::CreateGrid { uuid, name, k, instances, .. } => {
                self.create_grid(Grid { uuid: *uuid, name: name.clone(), k: *k, created_ms: at }, instances)
            }
            Command::RegisterInstance { spec, .. } => self.register(spec, at),
            Command::InstanceUp { instance, incarnation, .. } => self.instance_up(*instance, *incarnation, at),
            Command::InstanceDown { instance, incarnation, message, .. } => {
                self.instance_down(*instance, *incarnation, message, at)
            }
            Command::CreateDatabase { name, replica_sets, .. } => self.create_database(name, *replica_sets, at),
            Command::CreateElements { name, instance, .. } => self.create_elements(name, instance, at),
            Command::LoadDatabase { name, instance, .. } => self.load(name, instance.as_deref(), at),
            Command::OpenDatabase { name, .. } => self.open(name, at),
            Command::CloseDatabase { name, .. } => self.close(name, at),
            Command::UnloadDatabase { name, force, .. } => self.unload(name, *force, at),
            Command::DisconnectDatabase { name, mode, .. } => self.disconnect(name, *mode, at),
            Command::Disconnected { instance, incarnation, database, wish, sessions, .. } => {
                self.disconnected(*instance, *incarnation, *database, (*wish, *sessions), at)
            }
            Command::DestroyElements { name, instance, .. } => self.destroy_elements(name, instance, at),
            Command::DestroyDatabase { name, .. } => self.destroy(name, at),
            Command::ReportElements { instance, incarnation, elements, .. } => {
                self.report(*instance, *incarnation, elements, at)
            }
            Command::ReplaceElement { element, message, .. } => self.replace(*element, message, at),
            Command::PreferLeader { element, .. } => self.prefer_leader(*element, at),
        }?;
        if cfg!(test) {
            self.check();
        }
        Ok(reply)
    }

    /// Records an accepted change.
    pub(crate) fn changed(&mut self, at: Millis, text: impl Into<String>) -> Reply {
        self.sequence += 1;
        self.changed_ms = at;
        self.note(at, text);
        Reply::Changed { sequence: self.sequence }
    }

    /// Records an event of the change that is being made.
    pub(crate) fn note(&mut self, at: Millis, text: impl Into<String>) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { sequence: self.sequence, at_ms: at, text: text.into() });
    }

    fn already(&self) -> Reply {
        Reply::Already { sequence: self.sequence }
    }

    fn create_grid(&mut self, grid: Grid, instances: &[InstanceSpec]) -> Result<Reply, Refused> {
        if let Some(known) = &self.grid {
            return Err(Refused::GridExists(known.name.clone()));
        }
        check_grid(&grid.name, grid.k)?;
        let at = grid.created_ms;
        // On a copy, so that a refusal half way changes nothing.
        let mut next = self.clone();
        let text = format!("grid {} made with k = {}", grid.name, grid.k);
        next.grid = Some(grid);
        next.version += 1;
        next.changed(at, text);
        for spec in instances {
            next.register(spec, at)?;
        }
        *self = next;
        Ok(Reply::Changed { sequence: self.sequence })
    }

    fn register(&mut self, spec: &InstanceSpec, at: Millis) -> Result<Reply, Refused> {
        let k = self.grid.as_ref().map_or(0, |grid| grid.k);
        check_name("Host", &spec.host)?;
        check_name("Instance", &spec.name)?;
        let known =
            self.instances.values().find(|instance| instance.spec.host == spec.host && instance.spec.name == spec.name);
        if let Some(known) = known {
            return self.register_again(known.number, spec, at);
        }
        let name = format!("{}.{}", spec.host, spec.name);
        let unfit = |why: String| Err(Refused::UnfitInstance { name: name.clone(), why });
        if let Some(other) = self.instances.values().find(|instance| instance.spec.identity == spec.identity) {
            return unfit(format!("its data directory belongs to {}", other.full_name()));
        }
        if !spec.data && !spec.management {
            return unfit("it has neither the data nor the management role".to_owned());
        }
        if self.next.instance > INSTANCES_MAX {
            return unfit(format!("a grid has at most {INSTANCES_MAX} instances"));
        }
        let group = match (spec.data, spec.data_space_group) {
            (false, _) => 0,
            (true, None) => self.group_for(spec, k),
            (true, Some(asked)) if (1..=k).contains(&asked) => asked,
            // On one host every instance counts as a machine of its own: they fill the groups in turn.
            (true, Some(asked)) if spec.single_host && asked > k => (asked - 1) % k + 1,
            (true, Some(asked)) => return unfit(format!("data_space_group is from 1 to k = {k}, not {asked}")),
        };
        let number = self.next.instance;
        self.next.instance += 1;
        self.version += 1;
        self.instances.insert(
            number,
            Instance {
                number,
                spec: spec.clone(),
                group,
                incarnation: 0,
                up: false,
                since_ms: at,
                message: "not started yet".to_owned(),
            },
        );
        self.changed(at, format!("instance {name} joined as number {number}"));
        Ok(Reply::Registered { instance: number, data_space_group: group })
    }

    fn register_again(&mut self, number: InstanceNumber, spec: &InstanceSpec, at: Millis) -> Result<Reply, Refused> {
        let instance = self.instances.get_mut(&number).expect("the caller found it");
        let name = instance.full_name();
        if instance.spec.identity != spec.identity {
            return Err(Refused::ForeignInstance(name));
        }
        if (instance.spec.data, instance.spec.management) != (spec.data, spec.management) {
            let why = "its roles cannot be changed".to_owned();
            return Err(Refused::UnfitInstance { name, why });
        }
        let reply = Reply::Registered { instance: number, data_space_group: instance.group };
        if instance.spec != *spec {
            instance.spec = spec.clone();
            self.version += 1;
            self.changed(at, format!("instance {name} has a new configuration"));
        }
        Ok(reply)
    }

    /// The placement class of an instance that leaves the choice to the grid.
    fn group_for(&self, spec: &InstanceSpec, k: u32) -> u32 {
        let data = || self.instances.values().filter(|instance| instance.spec.data);
        if !spec.single_host
            && let Some(neighbour) = data().find(|instance| instance.spec.host == spec.host)
        {
            return neighbour.group;
        }
        (1..=k).min_by_key(|group| data().filter(|instance| instance.group == *group).count()).expect("k is at least 1")
    }

    fn create_database(&mut self, name: &str, replica_sets: Option<u32>, at: Millis) -> Result<Reply, Refused> {
        check_name("Database", name)?;
        if let Some(known) = self.database(name) {
            return Err(match known.target {
                Target::Destroyed => Refused::BeingDestroyed(name.to_owned()),
                _ => Refused::DatabaseExists(name.to_owned()),
            });
        }
        let k = self.grid.as_ref().map_or(0, |grid| grid.k);
        let layout = default_layout(self.instances.values(), k, replica_sets).map_err(|missing| Refused::NoPlace {
            name: name.to_owned(),
            why: missing.why,
            hint: missing.hint,
        })?;
        let number = self.next.database;
        self.next.database += 1;
        let mut sets = Vec::with_capacity(layout.len());
        for (index, placement) in layout.iter().enumerate() {
            let id = index as SetId + 1;
            let members: Vec<ElementNumber> =
                placement.instances.iter().map(|instance| self.new_element(number, id, *instance, true, at)).collect();
            sets.push(ReplicaSet { id, preferred_leader: members[placement.preferred], members });
        }
        let ids: Vec<SetId> = sets.iter().map(|set| set.id).collect();
        let text = format!("database {name} defined with {} replica sets", sets.len());
        self.databases.insert(
            number,
            Database {
                number,
                name: name.to_owned(),
                target: Target::Loaded,
                force: false,
                sets,
                map: DistributionMap::first(&ids),
                created_ms: at,
                disconnect: None,
            },
        );
        self.version += 1;
        Ok(self.changed(at, text))
    }

    fn new_element(
        &mut self,
        database: DatabaseNumber,
        set: SetId,
        instance: InstanceNumber,
        founder: bool,
        at: Millis,
    ) -> ElementNumber {
        let number = self.next.element;
        self.next.element += 1;
        let group = self.instances.get(&instance).expect("the layout uses known instances").group;
        self.elements.insert(
            number,
            Element {
                number,
                database,
                set,
                instance,
                group,
                status: Status::Uncreated,
                since_ms: at,
                message: String::new(),
                attempt: 1,
                created: false,
                founder,
                replaced_by: None,
            },
        );
        number
    }

    fn create_elements(&mut self, name: &str, instance: &str, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?.number;
        let instance = self.named_instance(instance)?;
        let here: Vec<&Element> =
            self.elements_of(database).filter(|element| element.instance == instance.number).collect();
        let full_name = instance.full_name();
        let Some(first) = here.first() else {
            return Err(Refused::NoElement { name: name.to_owned(), instance: full_name });
        };
        let failed: Vec<ElementNumber> = here
            .iter()
            .filter(|element| element.status == Status::CreateFailed)
            .map(|element| element.number)
            .collect();
        if failed.is_empty() {
            return Err(Refused::NothingToCreate {
                name: name.to_owned(),
                element: first.number,
                instance: full_name,
                status: first.status.word().to_owned(),
            });
        }
        self.repeat(&failed);
        Ok(self.changed(at, format!("creation of database {name} on {full_name} is repeated")))
    }

    fn load(&mut self, name: &str, instance: Option<&str>, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?.number;
        let only = instance.map(|instance| self.named_instance(instance)).transpose()?.map(|instance| instance.number);
        let failed: Vec<ElementNumber> = self
            .elements_of(database)
            .filter(|element| only.is_none_or(|only| element.instance == only))
            .filter(|element| matches!(element.status, Status::LoadFailed | Status::WaitingForSeed))
            .map(|element| element.number)
            .collect();
        let unloaded = self.databases[&database].target == Target::Unloaded;
        if unloaded && only.is_some() {
            return Err(Refused::NotLoaded(name.to_owned()));
        }
        if !unloaded && failed.is_empty() {
            return Ok(self.already());
        }
        if unloaded {
            self.set_target(database, Target::Loaded);
        }
        self.repeat(&failed);
        Ok(self.changed(at, format!("database {name} is to be loaded")))
    }

    fn open(&mut self, name: &str, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?;
        let (number, target) = (database.number, database.target);
        let failed = self.in_status(number, Status::OpenFailed);
        match target {
            Target::Unloaded | Target::Destroyed => return Err(Refused::NotLoaded(name.to_owned())),
            Target::Open if failed.is_empty() => return Err(Refused::AlreadyOpen(name.to_owned())),
            Target::Open => {}
            Target::Loaded => self.set_target(number, Target::Open),
        }
        self.repeat(&failed);
        Ok(self.changed(at, format!("database {name} is to be opened")))
    }

    fn close(&mut self, name: &str, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?;
        let (number, target) = (database.number, database.target);
        let failed = self.in_status(number, Status::CloseFailed);
        if target != Target::Open && failed.is_empty() {
            return Err(Refused::AlreadyClosed(name.to_owned()));
        }
        if target == Target::Open {
            self.set_target(number, Target::Loaded);
        }
        self.repeat(&failed);
        Ok(self.changed(at, format!("database {name} is to be closed")))
    }

    fn unload(&mut self, name: &str, force: bool, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?;
        let (number, target) = (database.number, database.target);
        if target == Target::Unloaded && database.force >= force {
            return Ok(self.already());
        }
        if target == Target::Open && !force {
            return Err(Refused::StillOpen(name.to_owned()));
        }
        let closing = self
            .elements_of(number)
            .filter(|element| matches!(element.status, Status::Closing | Status::CloseFailed | Status::Opened))
            .count();
        if closing > 0 && !force {
            return Err(Refused::StillClosing { name: name.to_owned(), elements: closing });
        }
        self.set_target(number, Target::Unloaded);
        self.databases.get_mut(&number).expect("it was found above").force = force;
        Ok(self.changed(at, format!("database {name} is to be unloaded")))
    }

    fn destroy(&mut self, name: &str, at: Millis) -> Result<Reply, Refused> {
        let database = self.database(name).ok_or_else(|| Refused::NoDatabase(name.to_owned()))?;
        let (number, target) = (database.number, database.target);
        let repeated = self.in_status(number, Status::DestroyFailed);
        if target == Target::Destroyed && repeated.is_empty() {
            return Ok(self.already());
        }
        let busy = self
            .elements_of(number)
            .any(|element| element.status.is_loaded() || matches!(element.status, Status::Loading | Status::Unloading));
        if !matches!(target, Target::Unloaded | Target::Destroyed) || busy {
            return Err(Refused::StillLoaded(name.to_owned()));
        }
        self.set_target(number, Target::Destroyed);
        self.repeat(&repeated);
        Ok(self.changed(at, format!("database {name} is to be destroyed")))
    }

    /// Destroys what is outside the map on one instance, and repeats what failed of that.
    fn destroy_elements(&mut self, name: &str, instance: &str, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?.number;
        let instance = self.named_instance(instance)?;
        let full_name = instance.full_name();
        let here: Vec<&Element> =
            self.elements_of(database).filter(|element| element.instance == instance.number).collect();
        let outside: Vec<(ElementNumber, Status)> = here
            .iter()
            .filter(|element| self.set_of(element).is_none())
            .map(|element| (element.number, element.status))
            .collect();
        match (here.first(), outside.is_empty()) {
            (None, _) => return Err(Refused::NoElement { name: name.to_owned(), instance: full_name }),
            (Some(first), true) => {
                let element = first.number;
                return Err(Refused::InMap { name: name.to_owned(), element, instance: full_name });
            }
            (Some(_), false) => {}
        }
        let failed = outside.iter().filter(|(_, status)| *status == Status::DestroyFailed);
        let failed: Vec<ElementNumber> = failed.map(|(element, _)| *element).collect();
        let evicted: Vec<ElementNumber> =
            outside.iter().filter(|(_, status)| *status == Status::Evicted).map(|(element, _)| *element).collect();
        if failed.is_empty() && evicted.is_empty() {
            return Ok(self.already());
        }
        self.repeat(&failed);
        let reply = self.changed(at, format!("elements of database {name} on {full_name} are to be destroyed"));
        for element in evicted {
            self.set_status(element, Status::Destroying, at, "").expect("an evicted element may be destroyed");
        }
        Ok(reply)
    }

    fn replace(&mut self, number: ElementNumber, message: &str, at: Millis) -> Result<Reply, Refused> {
        let old = self.elements.get(&number).ok_or(Refused::NoElementNumber(number))?;
        if old.replaced_by.is_some() {
            return Ok(self.already());
        }
        if old.status != Status::LoadFailed || self.set_of(old).is_none() {
            return Err(Refused::Forbidden {
                element: number,
                from: old.status.word().to_owned(),
                to: Status::Destroying.word().to_owned(),
            });
        }
        let (database, set, instance) = (old.database, old.set, old.instance);
        let new = self.new_element(database, set, instance, false, at);
        let database = self.databases.get_mut(&database).expect("elements belong to databases");
        let set = database.sets.iter_mut().find(|known| known.id == set).expect("the element is in a set");
        for member in set.members.iter_mut().filter(|member| **member == number) {
            *member = new;
        }
        if set.preferred_leader == number {
            set.preferred_leader = new;
        }
        self.version += 1;
        self.elements.get_mut(&number).expect("it was found above").replaced_by = Some(new);
        let reply = self.changed(at, format!("element {number} is replaced by element {new}: {message}"));
        self.set_status(number, Status::Destroying, at, message)?;
        Ok(reply)
    }

    fn prefer_leader(&mut self, number: ElementNumber, at: Millis) -> Result<Reply, Refused> {
        let element = self.elements.get(&number).ok_or(Refused::NoElementNumber(number))?;
        let (database, set) = (element.database, element.set);
        if self.set_of(element).is_none() {
            return Err(Refused::NoElementNumber(number));
        }
        let database = self.databases.get_mut(&database).expect("elements belong to databases");
        let set = database.sets.iter_mut().find(|known| known.id == set).expect("the element is in a set");
        if set.preferred_leader == number {
            return Ok(self.already());
        }
        set.preferred_leader = number;
        self.version += 1;
        Ok(self.changed(at, format!("element {number} is to lead its replica set")))
    }

    /// Moves an element to another status, if that is allowed.
    pub(crate) fn set_status(
        &mut self,
        number: ElementNumber,
        to: Status,
        at: Millis,
        message: &str,
    ) -> Result<(), Refused> {
        let element = self.elements.get_mut(&number).ok_or(Refused::NoElementNumber(number))?;
        let (from, database, instance) = (element.status, element.database, element.instance);
        if !allowed(from, to) {
            return Err(Refused::Forbidden { element: number, from: from.word().to_owned(), to: to.word().to_owned() });
        }
        element.status = to;
        element.since_ms = at;
        message.clone_into(&mut element.message);
        match to {
            Status::Loading => element.created = true,
            Status::Destroying | Status::Destroyed => element.created = false,
            _ => {}
        }
        let why = if message.is_empty() { String::new() } else { format!(": {message}") };
        let database = self.databases.get(&database).map(|database| database.name.as_str()).unwrap_or_default();
        let instance = self.instances.get(&instance).map(Instance::full_name).unwrap_or_default();
        let text = format!("database {database}, element {number} on {instance}: {} → {}{why}", from.word(), to.word());
        self.note(at, text);
        Ok(())
    }

    pub(crate) fn existing(&self, name: &str) -> Result<&Database, Refused> {
        let database = self.database(name).ok_or_else(|| Refused::NoDatabase(name.to_owned()))?;
        if database.target == Target::Destroyed {
            return Err(Refused::BeingDestroyed(name.to_owned()));
        }
        Ok(database)
    }

    fn named_instance(&self, name: &str) -> Result<&Instance, Refused> {
        match self.instances_named(name)[..] {
            [] => Err(Refused::NoInstance(name.to_owned())),
            [instance] => Ok(instance),
            ref several => Err(Refused::AmbiguousInstance {
                name: name.to_owned(),
                instances: several.iter().map(|instance| instance.full_name()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn in_status(&self, database: DatabaseNumber, status: Status) -> Vec<ElementNumber> {
        self.elements_of(database).filter(|element| element.status == status).map(|element| element.number).collect()
    }

    fn set_target(&mut self, database: DatabaseNumber, target: Target) {
        let database = self.databases.get_mut(&database).expect("the caller found it");
        database.target = target;
        database.force = false;
    }

    /// Lets instances try once more what failed.
    fn repeat(&mut self, elements: &[ElementNumber]) {
        for number in elements {
            self.elements.get_mut(number).expect("the caller found it").attempt += 1;
        }
    }
}

/// Whether a grid may have this name and this many copies.
pub(crate) fn check_grid(name: &str, k: u32) -> Result<(), Refused> {
    check_name("Grid", name)?;
    if matches!(k, 1 | 3 | 5) { Ok(()) } else { Err(Refused::WrongK(k)) }
}

/// Names appear in commands, messages, directories and connection strings, unquoted.
fn check_name(what: &str, name: &str) -> Result<(), Refused> {
    let wrong =
        |why: &str| Err(Refused::WrongName { what: what.to_owned(), name: name.to_owned(), why: why.to_owned() });
    let dotted = what == "Host";
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > NAME_BYTES_MAX && !dotted {
        return wrong("it has more than 63 bytes");
    }
    if name.len() > 253 {
        return wrong("it has more than 253 bytes");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
        return wrong("it starts with a letter, a digit or _");
    }
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter) || dotted && ".:".contains(letter);
    if !name.chars().all(allowed) {
        return wrong("it consists of letters, digits, _ and -");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
