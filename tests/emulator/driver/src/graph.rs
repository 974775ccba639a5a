//! Graphs: actions with dependencies, instantiated and launched as a whole.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::stream::Stream;
use crate::work::{Action, KernelLaunch, Work};

/// A graph under construction, or the template of executables.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// In an order in which dependencies come first.
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) handle: Handle<Node>,
    pub(crate) context: Handle<Context>,
    pub(crate) action: Action,
    pub(crate) dependencies: Vec<Handle<Node>>,
    /// Copies of the parameters with the pointers to them, as `cuGraphKernelNodeGetParams` returns them.
    pub(crate) shown: Option<Arc<ShownParameters>>,
}

/// Where a node handle leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodePlace {
    pub(crate) graph: Handle<Graph>,
}

/// Parameters in memory of their own, aligned for any type.
#[derive(Debug)]
pub(crate) struct ShownParameters {
    _values: Vec<Box<[u64]>>,
    pointers: Box<[usize]>,
}

/// A graph ready to launch. Its nodes are named by the handles of the graph that it came from.
#[derive(Debug)]
pub(crate) struct Executable {
    nodes: Vec<Node>,
    disabled: Vec<Handle<Node>>,
    /// The last launch; launches of one executable follow each other.
    last: Option<Arc<Work>>,
}

/// `CUgraphNodeType`.
pub(crate) fn node_type(action: &Action) -> c_int {
    match action {
        Action::Launch(_) => 0,
        Action::Upload { .. }
        | Action::Download { .. }
        | Action::Copy { .. }
        | Action::CopyRows(_) => 1,
        Action::Fill(_) => 2,
        Action::Call(_) => 3,
        Action::Join => 5,
        Action::Free { .. } => 11,
    }
}

/// Why an update was refused, as `CUgraphExecUpdateResult`.
pub(crate) mod update_result {
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const TOPOLOGY_CHANGED: u32 = 2;
    pub(crate) const NODE_TYPE_CHANGED: u32 = 3;
}

impl ShownParameters {
    pub(crate) fn of(launch: &KernelLaunch) -> Self {
        let params = launch
            .module
            .kernel(&launch.kernel)
            .map(|kernel| kernel.params());
        let values: Vec<Box<[u64]>> = params
            .unwrap_or_default()
            .iter()
            .map(|param| {
                let start = param.offset as usize;
                launch.parameters[start..start + param.bytes as usize]
                    .chunks(8)
                    .map(|chunk| {
                        let mut word = [0; 8];
                        word[..chunk.len()].copy_from_slice(chunk);
                        u64::from_ne_bytes(word)
                    })
                    .collect()
            })
            .collect();
        let pointers = values
            .iter()
            .map(|value| value.as_ptr().expose_provenance())
            .collect();
        Self {
            _values: values,
            pointers,
        }
    }

    /// The address of the array of pointers.
    pub(crate) fn address(&self) -> usize {
        self.pointers.as_ptr().expose_provenance()
    }
}

impl Graph {
    pub(crate) fn node(&self, handle: Handle<Node>) -> DriverResult<&Node> {
        self.nodes
            .iter()
            .find(|node| node.handle == handle)
            .ok_or(CudaError::INVALID_HANDLE)
    }

    pub(crate) fn node_mut(&mut self, handle: Handle<Node>) -> DriverResult<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|node| node.handle == handle)
            .ok_or(CudaError::INVALID_HANDLE)
    }
}

impl Session {
    pub(crate) fn create_graph(&mut self) -> Handle<Graph> {
        self.state.graphs.insert(Graph::default())
    }

    pub(crate) fn add_node(
        &mut self,
        graph: Handle<Graph>,
        context: Handle<Context>,
        action: Action,
        dependencies: Vec<Handle<Node>>,
    ) -> DriverResult<Handle<Node>> {
        let known = self.state.graphs.get(graph)?;
        for dependency in &dependencies {
            known.node(*dependency)?;
        }
        let place = self.state.nodes.insert(NodePlace { graph });
        let handle = Handle::from_number(place.number());
        let node = Node {
            handle,
            context,
            action,
            dependencies,
            shown: None,
        };
        self.state.graphs.get_mut(graph)?.nodes.push(node);
        Ok(handle)
    }

    /// The graph that a node belongs to.
    pub(crate) fn graph_of(&self, node: Handle<Node>) -> DriverResult<Handle<Graph>> {
        Ok(self
            .state
            .nodes
            .get(Handle::from_number(node.number()))?
            .graph)
    }

    pub(crate) fn destroy_graph(&mut self, graph: Handle<Graph>) -> DriverResult {
        self.state.graphs.remove(graph)?;
        self.state.nodes.retain(|place| place.graph != graph);
        Ok(())
    }

    pub(crate) fn instantiate(&mut self, graph: Handle<Graph>) -> DriverResult<Handle<Executable>> {
        if self
            .state
            .captures
            .iter()
            .any(|(_, capture)| capture.graph == graph)
        {
            return Err(CudaError::ILLEGAL_STATE);
        }
        let nodes = self.state.graphs.get(graph)?.nodes.clone();
        Ok(self.state.executables.insert(Executable {
            nodes,
            disabled: Vec::new(),
            last: None,
        }))
    }

    /// Queues every node; the stream continues when all of them are done.
    pub(crate) fn launch_graph(
        &mut self,
        executable: Handle<Executable>,
        stream: Handle<Stream>,
    ) -> DriverResult {
        if self.state.streams.get(stream)?.capture.is_some() {
            return Err(CudaError::STREAM_CAPTURE_UNSUPPORTED);
        }
        let mut before = self.dependencies(stream)?;
        let context = self.state.streams.get(stream)?.context;
        let Executable {
            nodes,
            disabled,
            last,
        } = self.state.executables.get(executable)?;
        before.extend(last.clone());
        let mut queued: HashMap<Handle<Node>, Arc<Work>> = HashMap::new();
        for node in nodes {
            let mut after: Vec<Arc<Work>> = node
                .dependencies
                .iter()
                .filter_map(|dependency| queued.get(dependency).cloned())
                .collect();
            if after.is_empty() {
                after.clone_from(&before);
            }
            let enabled = !disabled.contains(&node.handle);
            let action = if enabled {
                node.action.clone()
            } else {
                Action::Join
            };
            queued.insert(node.handle, Work::new(node.context, after, action));
        }
        let mut all: Vec<Arc<Work>> = queued.into_values().collect();
        if all.is_empty() {
            all = before;
        }
        let end = Work::new(context, all, Action::Join);
        self.state.executables.get_mut(executable)?.last = Some(Arc::clone(&end));
        self.append(stream, &end)
    }

    /// Waits for the last launch, then forgets the executable.
    pub(crate) fn destroy_executable(&mut self, executable: Handle<Executable>) -> DriverResult {
        self.state.executables.remove(executable).map(|_| ())
    }

    /// Replaces the action of one node; the kind of node must stay.
    pub(crate) fn set_executable_node(
        &mut self,
        executable: Handle<Executable>,
        node: Handle<Node>,
        action: Action,
    ) -> DriverResult {
        let nodes = &mut self.state.executables.get_mut(executable)?.nodes;
        let found = nodes.iter_mut().find(|candidate| candidate.handle == node);
        let found = found.ok_or(CudaError::INVALID_VALUE)?;
        if node_type(&found.action) != node_type(&action) {
            return Err(CudaError::INVALID_VALUE);
        }
        found.action = action;
        Ok(())
    }

    /// Switches a node of an executable on or off.
    pub(crate) fn enable_node(
        &mut self,
        executable: Handle<Executable>,
        node: Handle<Node>,
        enabled: bool,
    ) -> DriverResult {
        let found = self.state.executables.get_mut(executable)?;
        let of_executable = found
            .nodes
            .iter()
            .find(|candidate| candidate.handle == node);
        match of_executable.map(|node| &node.action) {
            Some(
                Action::Launch(_)
                | Action::Fill(_)
                | Action::Upload { .. }
                | Action::Download { .. }
                | Action::Copy { .. }
                | Action::CopyRows(_),
            ) => {}
            _ => return Err(CudaError::INVALID_VALUE),
        }
        found.disabled.retain(|other| *other != node);
        if !enabled {
            found.disabled.push(node);
        }
        Ok(())
    }

    /// Whether a node of an executable is on.
    pub(crate) fn node_enabled(
        &self,
        executable: Handle<Executable>,
        node: Handle<Node>,
    ) -> DriverResult<c_uint> {
        let found = self.state.executables.get(executable)?;
        if !found.nodes.iter().any(|candidate| candidate.handle == node) {
            return Err(CudaError::INVALID_VALUE);
        }
        Ok(c_uint::from(!found.disabled.contains(&node)))
    }

    /// Takes over the actions of `graph`, which must have the executable's shape. Why not, otherwise.
    pub(crate) fn update_executable(
        &mut self,
        executable: Handle<Executable>,
        graph: Handle<Graph>,
    ) -> DriverResult<u32> {
        let new = self.state.graphs.get(graph)?.nodes.clone();
        let found = self.state.executables.get_mut(executable)?;
        if shape(&found.nodes) != shape(&new) {
            return Ok(update_result::TOPOLOGY_CHANGED);
        }
        let same_types = found
            .nodes
            .iter()
            .zip(&new)
            .all(|(old, new)| node_type(&old.action) == node_type(&new.action));
        if !same_types {
            return Ok(update_result::NODE_TYPE_CHANGED);
        }
        for (old, new) in found.nodes.iter_mut().zip(new) {
            old.action = new.action;
        }
        Ok(update_result::SUCCESS)
    }
}

/// The dependencies of each node by position.
fn shape(nodes: &[Node]) -> Vec<Vec<usize>> {
    let positions: HashMap<Handle<Node>, usize> = nodes
        .iter()
        .enumerate()
        .map(|(position, node)| (node.handle, position))
        .collect();
    nodes
        .iter()
        .map(|node| {
            let mut places: Vec<usize> = node
                .dependencies
                .iter()
                .filter_map(|dependency| positions.get(dependency).copied())
                .collect();
            places.sort_unstable();
            places
        })
        .collect()
}
