//! `cuGraph*` on single nodes: adding them, and reading and changing their parameters.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use crate::abi::{In, KernelNodeParams, MemsetNodeParams, Out, Status};
use crate::api::graph::list;
use crate::context::Context;
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::graph::{Executable, Graph, Node, ShownParameters, node_type};
use crate::handle::Handle;
use crate::work::{Action, Fill};

fn add(
    session: &mut Session,
    node: Out<Handle<Node>>,
    graph: Handle<Graph>,
    dependencies: In<Handle<Node>>,
    count: usize,
    action: Action,
) -> DriverResult {
    let dependencies = dependencies.read_all(count)?;
    let context = session.context;
    node.put(session.add_node(graph, context, action, dependencies)?)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphAddKernelNode_v2(
    node: Out<Handle<Node>>,
    graph: Handle<Graph>,
    dependencies: In<Handle<Node>>,
    count: usize,
    params: In<KernelNodeParams>,
) -> Status {
    in_context(|session| {
        let launch = session.node_launch(params.read()?)?;
        add(
            session,
            node,
            graph,
            dependencies,
            count,
            Action::Launch(launch),
        )
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphAddMemsetNode(
    node: Out<Handle<Node>>,
    graph: Handle<Graph>,
    dependencies: In<Handle<Node>>,
    count: usize,
    params: In<MemsetNodeParams>,
    _context: Handle<Context>,
) -> Status {
    in_context(|session| {
        let action = session.fill_action(fill_of(params.read()?))?;
        add(session, node, graph, dependencies, count, action)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphAddEmptyNode(
    node: Out<Handle<Node>>,
    graph: Handle<Graph>,
    dependencies: In<Handle<Node>>,
    count: usize,
) -> Status {
    in_context(|session| add(session, node, graph, dependencies, count, Action::Join))
}

fn fill_of(params: MemsetNodeParams) -> Fill {
    Fill {
        destination: params.destination,
        pitch: params.pitch as u64,
        value: params.value,
        element_bytes: params.element_bytes,
        width: params.width as u64,
        height: params.height as u64,
    }
}

fn find(session: &Session, node: Handle<Node>) -> DriverResult<&Node> {
    session
        .state
        .graphs
        .get(session.graph_of(node)?)?
        .node(node)
}

fn find_mut(session: &mut Session, node: Handle<Node>) -> DriverResult<&mut Node> {
    let graph = session.graph_of(node)?;
    session.state.graphs.get_mut(graph)?.node_mut(node)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphNodeGetType(node: Handle<Node>, kind: Out<c_int>) -> Status {
    in_context(|session| kind.put(node_type(&find(session, node)?.action)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphNodeGetDependencies(
    node: Handle<Node>,
    nodes: Out<Handle<Node>>,
    count: Out<usize>,
) -> Status {
    in_context(|session| list(&find(session, node)?.dependencies, nodes, count))
}

/// As version 1, with no data on edges: every edge of the emulator is a full dependency.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphNodeGetDependencies_v2(
    node: Handle<Node>,
    nodes: Out<Handle<Node>>,
    edges: Out<u64>,
    count: Out<usize>,
) -> Status {
    in_context(|session| {
        let dependencies = find(session, node)?.dependencies.clone();
        if !edges.is_null() {
            edges.put_all(&vec![0; dependencies.len()], count.take()?)?;
        }
        list(&dependencies, nodes, count)
    })
}

/// The pointers stay valid until the node's parameters are set or its graph is destroyed.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphKernelNodeGetParams_v2(
    node: Handle<Node>,
    params: Out<KernelNodeParams>,
) -> Status {
    in_context(|session| {
        let found = find_mut(session, node)?;
        let Action::Launch(launch) = &found.action else {
            return Err(CudaError::INVALID_VALUE);
        };
        let shown = found
            .shown
            .get_or_insert_with(|| Arc::new(ShownParameters::of(launch)));
        params.put(KernelNodeParams {
            function: launch.function,
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.dynamic_shared,
            parameters: shown.address(),
            extra: 0,
            kernel: 0,
            context: found.context,
        })
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphKernelNodeSetParams_v2(
    node: Handle<Node>,
    params: In<KernelNodeParams>,
) -> Status {
    in_context(|session| {
        let launch = session.node_launch(params.read()?)?;
        let found = find_mut(session, node)?;
        let Action::Launch(_) = found.action else {
            return Err(CudaError::INVALID_VALUE);
        };
        found.action = Action::Launch(launch);
        found.shown = None;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphExecKernelNodeSetParams_v2(
    executable: Handle<Executable>,
    node: Handle<Node>,
    params: In<KernelNodeParams>,
) -> Status {
    in_context(|session| {
        let launch = session.node_launch(params.read()?)?;
        session.set_executable_node(executable, node, Action::Launch(launch))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphMemsetNodeGetParams(
    node: Handle<Node>,
    params: Out<MemsetNodeParams>,
) -> Status {
    in_context(|session| {
        let Action::Fill(fill) = find(session, node)?.action else {
            return Err(CudaError::INVALID_VALUE);
        };
        params.put(MemsetNodeParams {
            destination: fill.destination,
            pitch: fill.pitch as usize,
            value: fill.value,
            element_bytes: fill.element_bytes,
            width: fill.width as usize,
            height: fill.height as usize,
        })
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphExecMemsetNodeSetParams(
    executable: Handle<Executable>,
    node: Handle<Node>,
    params: In<MemsetNodeParams>,
    _context: Handle<Context>,
) -> Status {
    in_context(|session| {
        let action = session.fill_action(fill_of(params.read()?))?;
        session.set_executable_node(executable, node, action)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphNodeSetEnabled(
    executable: Handle<Executable>,
    node: Handle<Node>,
    enabled: c_uint,
) -> Status {
    in_context(|session| session.enable_node(executable, node, enabled != 0))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphNodeGetEnabled(
    executable: Handle<Executable>,
    node: Handle<Node>,
    enabled: Out<c_uint>,
) -> Status {
    in_context(|session| enabled.put(session.node_enabled(executable, node)?))
}
