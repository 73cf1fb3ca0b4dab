package gatewayapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const admin = "127.0.0.1:9901"

// envoy is a running Envoy that reads its listeners and clusters from files.
type envoy struct {
	command *exec.Cmd
	folder  string
	written map[string][]byte
}

// startEnvoy starts Envoy with no listener. Its log is in a file of the folder.
func startEnvoy(program, modules, folder string) (*envoy, error) {
	own := &envoy{folder: folder, written: map[string][]byte{}}
	source := func(name string) object {
		return object{"path_config_source": object{"path": filepath.Join(folder, name)}}
	}
	bootstrap := object{
		"node":  object{"id": "gateway-api", "cluster": "gateway-api"},
		"admin": object{"address": socketAddress("127.0.0.1", 9901)},
		"dynamic_resources": object{
			"lds_config": source("lds.json"), "cds_config": source("cds.json"),
		},
	}
	for name, content := range map[string]any{
		"bootstrap.json": bootstrap, "lds.json": resources(nil), "cds.json": resources(nil),
	} {
		if err := own.replace(name, content); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(folder, "envoy.log"))
	if err != nil {
		return nil, err
	}
	own.command = exec.Command(program, "-c", filepath.Join(folder, "bootstrap.json"),
		"--concurrency", "2", "--log-level", "info", "--use-dynamic-base-id")
	own.command.Env = append(os.Environ(), "ENVOY_DYNAMIC_MODULES_SEARCH_PATH="+modules)
	own.command.Stdout, own.command.Stderr = log, log
	own.command.SysProcAttr = withParent()
	if err := own.command.Start(); err != nil {
		return nil, err
	}
	for range 500 {
		if text, err := own.get("/ready"); err == nil && strings.HasPrefix(text, "LIVE") {
			return own, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	own.stop()
	return nil, fmt.Errorf("Envoy did not start, see %s", log.Name())
}

// withParent makes a process end with this one, also if this one is killed.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

func (own *envoy) stop() {
	_ = own.command.Process.Kill()
	_ = own.command.Wait()
}

// apply replaces the clusters and the listeners, and waits until Envoy has applied them.
func (own *envoy) apply(ctx context.Context, clusters, listeners []any) error {
	if err := own.update(ctx, "cds.json", clusters, "cluster_manager.cds"); err != nil {
		return err
	}
	return own.update(ctx, "lds.json", listeners, "listener_manager.lds")
}

func (own *envoy) update(ctx context.Context, name string, content []any, statistics string) error {
	text, err := json.Marshal(resources(content))
	if err != nil {
		return err
	}
	if bytes.Equal(text, own.written[name]) {
		return nil
	}
	before, err := own.statistics()
	if err != nil {
		return err
	}
	if err := own.replace(name, resources(content)); err != nil {
		return err
	}
	applied, rejected := statistics+".update_success", statistics+".update_rejected"
	for ctx.Err() == nil {
		now, err := own.statistics()
		if err != nil {
			return err
		}
		if now[rejected] > before[rejected] {
			return fmt.Errorf("Envoy rejected %s, see %s/envoy.log", name, own.folder)
		}
		isWarm := now["listener_manager.total_listeners_warming"] == 0 &&
			now["cluster_manager.warming_clusters"] == 0
		if now[applied] > before[applied] && isWarm {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("Envoy did not apply %s: %w", name, ctx.Err())
}

// replace writes a file that Envoy watches: it must be moved into its place.
func (own *envoy) replace(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	path := filepath.Join(own.folder, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	own.written[name] = text
	return os.Rename(path+".new", path)
}

// statistics returns Envoy's counters and gauges of updates.
func (own *envoy) statistics() (map[string]int, error) {
	text, err := own.get("/stats?filter=%5E(listener_manager|cluster_manager)%5C.")
	if err != nil {
		return nil, err
	}
	values := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if number, err := strconv.Atoi(value); err == nil {
			values[name] = number
		}
	}
	return values, nil
}

func (own *envoy) get(path string) (string, error) {
	response, err := http.Get("http://" + admin + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func resources(content []any) object {
	if content == nil {
		content = []any{}
	}
	return object{"resources": content}
}
